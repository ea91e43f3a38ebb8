"""What a study will ask and train, from its file and rows alone."""

import re

import advice_rows
import yaml
from whole_run import TEXT_TO_SQL

from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.core.cost.slm_work import Hours, Rows, gpu_hours, work_before, work_of_loop
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.cost_table import estimated, rows_of, together
from pada_agent.pipelines.study.estimate import show_study_estimate
from pada_agent.pipelines.study.study_file import is_study, read_study

EPOCHS, TRAIN, VALIDATION, SELECTION, TEST = 5, 120, 80, 80, 200  # the text-to-SQL example's


def lines_of(tmp_path, **changes):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"tasks": {"sql": str(TEXT_TO_SQL / "config.yaml")}, "seeds": [0, 1], **changes}))
    assert is_study(file)
    said = []
    show_study_estimate(read_study(file), said.append)
    return said


def work_of(lines):
    (work,) = [line for line in lines if "adapters are trained" in line]
    return work


def test_each_methods_calls_are_those_of_its_runs(tmp_path):
    vanilla, pada, duplicate, all_of_them = lines_of(tmp_path, methods=["pada", "duplicate"])[1:5]
    one = together(estimated(read_config(TEXT_TO_SQL / "config.yaml"))[0])
    assert re.match(rf"pada +2 +{2 * one.expected.calls} \({2 * one.low.calls} to {2 * one.high.calls}\) ", pada)
    assert re.match(r"duplicate +2 +0 \(0 to 0\) ", duplicate) and re.match(r"vanilla +2 +0 \(0 to 0\) ", vanilla)
    assert re.match(rf"together +6 +{2 * one.expected.calls} ", all_of_them)


def test_vanillas_answers_are_scored_once_for_all_methods(tmp_path):
    config = yaml.safe_load((TEXT_TO_SQL / "config.yaml").read_text())
    advice = {"name": "custom", **advice_rows.write(tmp_path), "options": advice_rows.options(human_score="human")}
    scorer = {"model": "scorer", "base_url": "http://127.0.0.1:1/v1"}
    task = {**config, "task": advice, "scorer": scorer, "score": {"checks": 5}}
    lines = lines_of(tmp_path, tasks={"advice": task}, methods=["duplicate", "auggpt"], iterations=1)
    calls = {line.split()[0]: int(line.split()[2].replace(",", "")) for line in lines[1:5]}
    train, validation, selection, test = advice_rows.SIZES.values()
    reported = selection + test
    assert calls["vanilla"] == 2 * (train + validation + 2 * reported + 4 * 5)  # seeds
    assert calls["duplicate"] == 2 * (train + validation + 2 * reported)  # its iteration's answers, and step-matched vanilla's
    assert calls["together"] == calls["vanilla"] + calls["duplicate"] + calls["auggpt"]


def test_shared_work_is_counted_once(tmp_path):
    work = work_of(lines_of(tmp_path, methods=["pada", "auggpt"], iterations=2))
    reported = SELECTION + TEST
    every = TRAIN + VALIDATION + reported
    written = 45  # in each of two iterations: 0.75 of the training rows in all
    vanilla = EPOCHS * TRAIN, every + reported
    method = EPOCHS * (TRAIN + written + 2 * (TRAIN + 2 * written)), 2 * every + reported
    trained, answered = (2 * (one + 2 * other) for one, other in zip(vanilla, method, strict=True))
    assert work == f"{2 * (1 + 2 * 3)} adapters are trained, on {trained:,} rows in all epochs; {answered:,} are answered."


def test_a_training_size_of_its_own(tmp_path):
    work = work_of(lines_of(tmp_path, methods=["duplicate"], regimes=[40, 80], seeds=[0]))
    assert work.startswith(f"6 adapters are trained, on {EPOCHS * (40 + 2 * 70 + 80 + 2 * 140):,} rows in all epochs; ")


def test_gpu_hours_are_those_of_all_tasks_whose_models_have_a_size(tmp_path):
    task = {"config": str(TEXT_TO_SQL / "config.yaml"), "slm": {"model": "some/slm-150B", "device": "cuda"}}
    unknown, own = {**task, "slm": {"model": "some/slm"}}, {**task, "slm": {"model": "x/y-3b", "device": "cpu"}}
    teacher = {"base_url": "http://127.0.0.1:1/v1"}
    tasks = {"a": task, "b": task, "unknown": unknown, "cpus": own}
    lines = lines_of(tmp_path, tasks=tasks, settings={"teacher": teacher, "judge": teacher}, regimes=[0, 60], seeds=[0])
    settings, found = read_config(TEXT_TO_SQL / "config.yaml"), Hours()
    settings = settings.model_copy(update={"step_matched": True, "slm": settings.slm.model_copy(update={"device": "cuda"})})
    read = rows_of(settings)
    for rows in (Rows(TRAIN, VALIDATION, SELECTION + TEST), Rows(60, VALIDATION, SELECTION + TEST)):
        work = (work_before(settings, rows) + work_of_loop(settings, rows)).times(2)  # tasks
        found += gpu_hours(150e9, work, open_task(settings.task), read.first, settings)
    hours, without = [line for line in lines if "hours" in line]
    assert hours.startswith(f"GPU hours on one A10G: about {found.training:.2g} to train, ") and found.training > 1
    assert hours.endswith("; some/slm-150B has 150 billion parameters, by its name.")
    assert without == "Not in these hours: cpus (on CPUs), unknown (the size of some/slm is not known here)."


def test_a_runs_config_is_no_study():
    assert not is_study(TEXT_TO_SQL / "config.yaml")
