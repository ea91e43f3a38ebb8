"""Whole studies with real stages, a student that learns in milliseconds, and a stub for the teacher.

The synthetic check is here: a teacher that knows what the student lacks must show as an effect, one that does not as none.
"""

import json
import shutil
import threading
from collections import Counter

import pytest
import yaml
from filelock import FileLock
from llm_stub import serving
from small_student import ROWS, start, students, tasks_run, teach, write_study

from pada_agent.components.backends.record_files import read_record, read_records
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.components.core.records import Prediction, TrainRow
from pada_agent.components.core.report.page import render
from pada_agent.components.core.state import State
from pada_agent.pipelines.study.compare import compare
from pada_agent.pipelines.study.outcomes import StudyFacts
from pada_agent.pipelines.study.places import MATCHED
from pada_agent.pipelines.study.run import cells, conduct, parse_seeds, write_facts
from pada_agent.pipelines.study.study_file import read_study

METHODS = {name: {"teacher": {"model": name}} for name in ("planted", "random")}
SEEDS = [0, 1, 2]


@pytest.fixture(scope="module", autouse=True)
def student():
    with students():
        yield


@pytest.fixture(scope="module")
def stub():
    with serving() as server:
        teach(server)
        yield server


@pytest.fixture(scope="module")
def study(stub, tmp_path_factory):
    """A finished study: its file, its folder, its table, and how often the teacher was asked."""
    folder = tmp_path_factory.mktemp("study")
    file = write_study(folder, stub.url, methods=METHODS, seeds=SEEDS)
    text = run(file, folder / "out")
    return file, folder / "out", text, len(stub.asks)


def run(file, out, **given):
    return conduct(read_study(file, **given), out, start, lambda text: None)


def facts_in(out):
    return read_record(out / "study.json", StudyFacts)


def test_a_true_effect_is_seen_and_none_where_there_is_none(study):
    results = compare(facts_in(study[1]))
    over = {c.method: c for c in results.comparisons if c.baseline == MATCHED}
    planted, random = over["planted"], over["random"]
    assert planted.found.difference.low > 0.05 and planted.p_holm < 0.01
    assert random.found.difference.low < 0 < random.found.difference.high and random.p_holm > 0.05
    (between,) = [c for c in results.comparisons if c.baseline == "random"]
    assert between.found.difference.low > 0 and between.p_holm < 0.01


def test_what_methods_have_in_common_is_done_once(study):
    began = Counter(task for _, task in tasks_run(study[1]))
    assert began["prepare"] == 1, "the splits are the same for all seeds"
    assert all(began[task] == len(SEEDS) for task in ("train-vanilla", "evaluate-vanilla", "evaluate-untuned"))
    assert began["train-step-matched"] == len(SEEDS), "both methods wrote as many rows"
    assert began["train-1"] == began["analyze-1"] == len(SEEDS) * len(METHODS)


def test_every_answer_of_every_model_is_in_the_facts(study):
    _, out, _, _ = study
    facts = facts_in(out)
    names = [f"words/all/seed-{seed}/{method}" for seed in SEEDS for method in ("vanilla", *METHODS)]
    assert [c.name for c in facts.cells] == names
    cell = next(c for c in facts.cells if c.name == "words/all/seed-1/planted")
    assert [m.name for m in cell.models] == ["iteration-1", "step-matched"]
    vanilla = next(c for c in facts.cells if c.name == "words/all/seed-1/vanilla").model("vanilla")
    assert cell.models[1].steps == cell.models[0].steps > vanilla.steps > 0
    for split, folder in (("test", "report_predictions"), ("validation", "predictions")):
        (file,) = (out / cell.name).glob(f"*-evaluate-1/{folder}/{split}.jsonl")
        rows = read_records(file, Prediction)
        assert facts.tasks["words"].rows[split].ids == [row.id for row in rows]
        said = "".join("1" if r.score.correct else "0" if r.score.valid else "x" for r in rows)
        assert cell.models[0].outcomes[split] == said
    assert set("".join(m.outcomes["test"] for c in facts.cells for m in c.models)) == {"0", "1", "x"}


def test_what_was_written_and_asked_is_counted_for_each_cell(study):
    _, out, text, asked = study
    cells = [c for c in facts_in(out).cells if c.method != "vanilla"]
    wanted = round(0.2 * (3 * ROWS["train"][0] + ROWS["train"][1]))
    assert {(c.samples.wanted, c.samples.written, c.samples.accepted) for c in cells} == {(wanted, wanted, wanted)}
    assert sum(stage.calls for c in cells for stage in c.spent.values()) == asked
    assert "| all | words | planted | 37 | 0 | 37 | 37 | 0 | 0 |" in text


def test_the_tables_are_made_again_from_the_facts_alone(study, pada, tmp_path):
    _, out, text, _ = study
    shutil.copy(out / "study.json", tmp_path)
    code, said, _ = pada("study", "--tables", tmp_path / "study.json")
    assert (code, said.strip()) == (0, text.strip())
    assert (tmp_path / "study.md").read_text() == (out / "study.md").read_text() == text
    assert (tmp_path / "study.html").read_bytes() == (out / "study.html").read_bytes()


def test_seeds_run_at_other_places_are_one_study(study, pada, tmp_path):
    _, out, text, _ = study
    whole = facts_in(out)
    parts = []
    for name, seeds in {"b": [1, 2], "a": [0]}.items():
        of_it = [cell for cell in whole.cells if cell.seed in seeds]
        (tmp_path / name).mkdir()
        write_facts(whole.model_copy(update={"seeds": seeds, "cells": of_it}), tmp_path / name)
        parts += ["--tables", tmp_path / name / "study.json"]
    code, said, _ = pada("study", *parts, "--out", tmp_path / "all")
    assert (code, said.strip()) == (0, text.strip())
    assert (tmp_path / "all/study.json").read_bytes() == (out / "study.json").read_bytes()
    assert (tmp_path / "all/study.html").read_bytes() == (out / "study.html").read_bytes()
    assert pada("study", *parts)[2].startswith("pada: --tables of several files needs --out")


def test_seeds_of_another_study_are_refused(study, pada, tmp_path):
    whole = facts_in(study[1])
    again, other = tmp_path / "again", tmp_path / "other"
    parts = {
        again: whole.model_copy(update={"seeds": [2], "cells": whole.cells[-1:]}),
        other: whole.model_copy(
            update={"cells": [], "tasks": {"words": whole.tasks["words"].model_copy(update={"slm": "another"})}}
        ),
    }
    for folder, facts in parts.items():
        folder.mkdir()
        write_facts(facts, folder)

    def refused(folder):
        return pada("study", "--tables", study[1] / "study.json", "--tables", folder / "study.json", "--out", tmp_path / "all")[2]

    assert f"{again}/study.json: seed 2 of words is in {study[1]}/study.json too" in refused(again)
    assert f"{other}/study.json: words has other slm than in {study[1]}/study.json" in refused(other)
    assert not (tmp_path / "all").exists()


def test_started_again_a_finished_study_does_nothing(study, stub):
    file, out, text, _ = study

    def start_nothing(cell):
        pytest.fail(f"{cell.name} is finished")

    before, asked = tasks_run(out), len(stub.asks)
    assert conduct(read_study(file), out, start_nothing, lambda text: None) == text
    assert (tasks_run(out), len(stub.asks)) == (before, asked)


def test_with_one_more_seed_that_one_alone_is_run(study, stub):
    file, out, _, _ = study
    before = Counter(tasks_run(out))
    text = run(file, out, seeds=[*SEEDS, 3])
    assert {cell.split("/")[2] for cell, _ in Counter(tasks_run(out)) - before} == {"seed-3"}
    assert "| rows | task | model | mean | SD | seed 0 | seed 1 | seed 2 | seed 3 |" in text


def test_a_cell_that_fails_is_told_and_tried_again_and_sizes_are_nested(stub, tmp_path):
    methods = {"planted": METHODS["planted"], "broken": {"teacher": {"model": "broken"}}}
    file = write_study(tmp_path, stub.url, methods=methods, seeds=[0], regimes=[90, 40])
    out, rule = tmp_path / "out", stub.on(lambda ask: ask.body["model"] == "broken", status=401)
    stub.rules.insert(0, stub.rules.pop())
    with pytest.raises(PadaError, match=r"2 of 6 cells failed; the same command tries them again"):
        run(file, out)
    facts = facts_in(out)
    assert [f.cell for f in facts.failed] == ["words/90/seed-0/broken", "words/40/seed-0/broken"]
    assert "401" in facts.failed[0].line and len(facts.cells) == 4
    assert f"- words/90/seed-0/broken: failed: {facts.failed[0].line}" in (out / "study.md").read_text()
    rule.times = 0
    assert "failed" not in run(file, out)
    assert len(facts_in(out).cells) == 6
    few, many = ([r.id for r in train_rows(out, regime)] for regime in (40, 90))
    assert (len(few), len(many)) == (40, 90) and many[:40] == few


def test_a_graded_task_is_compared_by_mean_scores_from_the_answers_to_the_tables(stub, tmp_path):
    """The student says "amber" where the row says "amber kind", as the teacher's rows taught it: two thirds of a right answer."""
    file = write_study(tmp_path, stub.url, methods={"planted": METHODS["planted"]}, seeds=[0])
    values = yaml.safe_load(file.read_text())
    values["tasks"]["words"]["task"]["options"] |= {"scorer": "f1", "threshold": 0.6}
    file.write_text(yaml.safe_dump(values))
    for split in ROWS:
        rows = [json.loads(line) for line in (tmp_path / f"{split}.jsonl").read_text().splitlines()]
        rows = [row | {"family": f"{row['family']} kind"} for row in rows]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = run(file, tmp_path / "out")
    facts = facts_in(tmp_path / "out")
    last = next(c for c in facts.cells if c.method == "planted").iterations[-1]
    assert 0 < last.grades["test"].count(0.666667) < len(last.outcomes["test"])
    assert [g >= 0.6 for g in last.grades["test"]] == [verdict == "1" for verdict in last.outcomes["test"]]
    assert facts.tasks["words"].graded and "words: its answers are graded" in text
    (pair,) = [c for c in compare(facts).comparisons if c.baseline == MATCHED]
    means = [sum(m.grades["test"]) / len(m.grades["test"]) for m in (last, facts.cells[-1].model("step-matched"))]
    assert pair.found.difference.mean == pytest.approx(means[0] - means[1])
    state = State.load(next((tmp_path / "out/words/all/seed-0/planted").glob("*-score-step-matched/state")))
    shown = render(state)
    assert "Mean score" in shown and "permutation test" in shown and f"{100 * means[0]:.1f}" in shown


def train_rows(out, regime):
    (file,) = (out / f"words/{regime}/seed-0/vanilla").glob("*-prepare/train_data/train.jsonl")
    return read_records(file, TrainRow)


def test_cells_that_were_evaluated_on_other_rows_are_refused(study, tmp_path):
    file, out, _, _ = study
    shutil.copytree(out, tmp_path / "out")
    cell = tmp_path / "out" / "words/all/seed-1/vanilla/cell.json"
    values = json.loads(cell.read_text())
    values["task"]["rows"]["test"]["ids"][0] = "another"
    cell.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"words/all/seed-1/vanilla was evaluated on other test rows .* another --out"):
        run(file, tmp_path / "out")


def test_a_cell_with_other_settings_than_before_is_refused(study, tmp_path):
    file, out, _, _ = study
    shutil.copytree(out, tmp_path / "out")
    changed = yaml.safe_load(file.read_text())
    changed["methods"]["planted"]["generate"] = {"temperature": 0.1}
    other = file.with_name("changed.yaml")
    other.write_text(yaml.safe_dump(changed))
    with pytest.raises(PadaError, match="3 of 9 cells failed"):
        run(other, tmp_path / "out")
    failed = facts_in(tmp_path / "out").failed
    assert [f.cell for f in failed] == [f"words/all/seed-{seed}/planted" for seed in SEEDS]
    assert all("was started with other settings: generate.temperature (0.7 there, 0.1 now)" in f.line for f in failed)


def test_the_facts_grow_with_each_cell_that_ends(study, tmp_path):
    file, done, text, _ = study
    out, seen = tmp_path / "out", []
    shutil.copytree(done, out)
    for cell in cells(read_study(file), out):
        (cell.folder / "cell.json").unlink()

    def put_back(cell):
        seen.append(len(facts_in(out).cells))
        shutil.copy(done / cell.name / "cell.json", cell.folder)

    assert conduct(read_study(file), out, put_back, lambda text: None) == text
    assert seen == list(range(9))


def test_a_cell_whose_data_changed_while_it_ran_is_no_result(stub, tmp_path):
    file = write_study(tmp_path, stub.url, methods={"planted": METHODS["planted"]}, seeds=[0])
    with pytest.raises(InputError, match="words/all/seed-0/vanilla: the data changed while it ran; start again"):
        conduct(read_study(file), tmp_path / "out", lambda cell: None, lambda text: None)


def test_methods_wait_for_vanilla_and_as_many_run_as_are_asked_for(stub, tmp_path, monkeypatch):
    file, seen = write_study(tmp_path, stub.url, methods=METHODS, seeds=[0]), {}

    def note(items, jobs, start, say, ended_well):
        seen.update({item.name.split("/")[-1]: item.needs for item in items}, jobs=jobs)
        return {}

    monkeypatch.setattr("pada_agent.pipelines.study.run.run_side_by_side", note)
    run(file, tmp_path / "out", jobs=3)
    vanilla = "words/all/seed-0/vanilla"
    assert seen == {"vanilla": "", "planted": vanilla, "random": vanilla, "jobs": 3}


def test_a_cell_waits_for_the_process_of_a_study_that_was_just_killed(study, tmp_path):
    file, out, _, _ = study
    shutil.copytree(out, tmp_path / "out")
    (cell,) = [c for c in cells(read_study(file), tmp_path / "out") if c.name == "words/all/seed-0/vanilla"]
    held = FileLock(cell.folder / ".lock", thread_local=False)
    held.acquire()
    ending = threading.Timer(0.5, held.release)
    ending.start()
    start(cell)
    assert not held.is_locked


def test_two_studies_in_one_folder_are_refused(study):
    file, out, _, _ = study
    with FileLock(out / ".lock"), pytest.raises(InputError, match=r"another study is running here; .* another --out"):
        run(file, out)


def test_data_that_changed_run_again(stub, tmp_path):
    file = write_study(tmp_path, stub.url, methods={"planted": METHODS["planted"]}, seeds=[0])
    first, *_ = cells(read_study(file), tmp_path / "out")
    start(first)
    assert first.finished()
    rows = (tmp_path / "test.jsonl").read_text().splitlines()
    (tmp_path / "test.jsonl").write_text("\n".join(rows[1:]))
    assert not first.finished()
    start(first)
    assert len(first.finished().task.rows["test"].ids) == len(rows) - 1


def test_a_study_needs_a_file_and_a_folder_or_what_one_left(pada, tmp_path, study):
    assert pada("study", "--out", tmp_path)[2] == (
        "pada: a study needs --config and --out, or --tables with the study.json of one"
    )
    (tmp_path / "file").touch()
    assert "cannot be written" in pada("study", "--config", study[0], "--out", tmp_path / "file" / "x")[2]
    assert "written to a local folder" in pada("study", "--config", study[0], "--out", "gs://bucket/x")[2]
    assert "none.json: cannot be read" in pada("study", "--tables", tmp_path / "none.json")[2]


def test_the_command_hands_the_files_seeds_and_jobs_on(pada, study, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        "pada_agent.pipelines.study.run.conduct", lambda plan, out, say: seen.append((plan.seeds, plan.jobs, out))
    )
    assert pada("study", "--config", study[0], "--out", tmp_path)[0] == 0
    assert pada("study", "--config", study[0], "--out", tmp_path, "--seeds", "7,8", "--jobs", "3")[0] == 0
    assert seen == [(SEEDS, 1, tmp_path), ([7, 8], 3, tmp_path)]


@pytest.mark.parametrize("text", ["", "a,b", "1,1", "-1", "1,,2"])
def test_seeds_that_are_none(text):
    with pytest.raises(InputError, match="--seeds"):
        parse_seeds(text)


def test_seeds():
    assert parse_seeds("0, 2,5") == [0, 2, 5]
