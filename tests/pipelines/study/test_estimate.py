"""What a study will ask and train, from its file and rows alone."""

import re

import yaml
from whole_run import TEXT_TO_SQL

from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.cost_table import estimated, together
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


def test_each_methods_calls_are_those_of_its_runs(tmp_path):
    pada, duplicate, all_of_them = lines_of(tmp_path, methods=["pada", "duplicate"])[1:4]
    one = together(estimated(read_config(TEXT_TO_SQL / "config.yaml"))[0])
    assert re.match(rf"pada +2 +{2 * one.expected.calls} \({2 * one.low.calls} to {2 * one.high.calls}\) ", pada)
    assert re.match(r"duplicate +2 +0 \(0 to 0\) ", duplicate)
    assert re.match(rf"together +4 +{2 * one.expected.calls} ", all_of_them)


def test_shared_work_is_counted_once(tmp_path):
    *_, work, _ = lines_of(tmp_path, methods=["pada", "auggpt"], iterations=2)
    reported = SELECTION + TEST
    every = TRAIN + VALIDATION + reported
    written = 45  # in each of two iterations: 0.75 of the training rows in all
    vanilla = EPOCHS * TRAIN, every + reported
    method = EPOCHS * (TRAIN + written + 2 * (TRAIN + 2 * written)), 2 * every + reported
    trained, answered = (2 * (one + 2 * other) for one, other in zip(vanilla, method, strict=True))
    assert work == f"{2 * (1 + 2 * 3)} adapters are trained, on {trained:,} rows in all epochs; {answered:,} are answered."


def test_a_training_size_of_its_own(tmp_path):
    *_, work, _ = lines_of(tmp_path, methods=["duplicate"], regimes=[40, 80], seeds=[0])
    assert work.startswith(f"6 adapters are trained, on {EPOCHS * (40 + 2 * 70 + 80 + 2 * 140):,} rows in all epochs; ")


def test_a_runs_config_is_no_study():
    assert not is_study(TEXT_TO_SQL / "config.yaml")
