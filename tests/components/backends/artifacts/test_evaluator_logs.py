"""Files and folders as lm-eval and Inspect leave them; tests/evaluators says how they were made."""

import json
import shutil
from pathlib import Path

import pytest

from pada_agent.components.backends.artifacts.predictions import known_rows, read_predictions
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign.inspect_log import of_inspect
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import Task

FILES = Path(__file__).parents[3] / "evaluators"
LM_EVAL, INSPECT = FILES / "lm_eval", FILES / "inspect"


@pytest.fixture
def gsm8k() -> Task:
    return load_task("gsm8k", {})


def verdicts(name: str, task: Task, folder: Path = LM_EVAL) -> dict[str, bool]:
    return {p.id: p.score.correct for p in read_predictions(folder / name, task)}


class TestLmEval:
    def test_filters(self, gsm8k: Task) -> None:
        """By the folder that --output_path named."""
        predictions = read_predictions(LM_EVAL / "filters", gsm8k)
        assert [p.score.correct for p in predictions] == [True, False, False, False]
        assert [p.score.extra for p in predictions] == [{"flexible-extract": right} for right in (1, 0, 1, 0)]
        assert [p.score.valid for p in predictions] == [True, True, False, False]
        assert predictions[0].output == " 3 - 1 = 2\n#### 2"

    def test_several_answers_a_row(self, gsm8k: Task) -> None:
        second = read_predictions(LM_EVAL / "votes", gsm8k)[1]
        assert (second.score.correct, second.score.extra) == (False, {"maj@3": 1.0})

    def test_predict_only(self, gsm8k: Task, capsys: pytest.CaptureFixture[str]) -> None:
        assert verdicts("predict_only", gsm8k) == {"0": True, "1": False, "2": False, "3": False}
        assert "4 of 4 answers have no verdict of right or wrong; gsm8k scored them" in capsys.readouterr().err

    def test_f1_alone(self) -> None:
        predictions = read_predictions(LM_EVAL / "f1", load_task("squad", {}))
        assert [p.score.correct for p in predictions] == [False, True, False]
        assert [p.score.extra["f1"] for p in predictions] == [0.8, 1.0, 0.5]
        assert [p.group for p in predictions] == ["Lighthouse", "Lighthouse", "Salt"]

    def test_a_group_of_subtasks_and_the_same_in_one_file(self, tmp_path: Path) -> None:
        task = load_task("arc_challenge", {})
        expected = {"0": True, "1": False, "0-2": False, "1-2": True}
        assert verdicts("subtasks", task) == expected
        files = sorted(LM_EVAL.glob("subtasks/*/samples_*.jsonl"))
        (tmp_path / "all.jsonl").write_text("".join(file.read_text() for file in files))
        assert verdicts("all.jsonl", task, tmp_path) == expected

    def test_of_two_evaluations_the_newest(self, gsm8k: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree(LM_EVAL / "filters", tmp_path / "out")
        (file,) = tmp_path.rglob("samples_*.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for date, right in (("2020-01-01T00-00-00.000000", 0.0), ("2030-01-01T00-00-00.000000", 1.0)):
            rows = [json.dumps({**line, "exact_match": right}) for line in lines]
            file.with_name(f"samples_problems_{date}.jsonl").write_text("\n".join(rows))
        assert set(verdicts("out", gsm8k, tmp_path).values()) == {True}
        assert "left out" in capsys.readouterr().err

    def test_several_models_are_not_mixed(self, gsm8k: Task, tmp_path: Path) -> None:
        for model in ("a", "b"):
            shutil.copytree(LM_EVAL / "filters" / "example__written", tmp_path / model)
        with pytest.raises(InputError, match=r"several models; name the folder of one: .*/a, .*/b"):
            read_predictions(tmp_path, gsm8k)


class TestInspect:
    """Without its library the samples of a .json log are read as they stand there; with it both kinds of file."""

    def test_samples_as_they_are_written(self) -> None:
        samples = json.loads((INSPECT / "passages.json").read_text())["samples"]
        read = [of_inspect(sample, "x") for sample in samples]
        assert [a.output for a in read if a] == ["built in 1874", "a fishing guild", "the sun"]
        assert [a.metrics for a in read if a] == [{"f1": 0.8}, {"f1": 1.0}, {"f1": 0.0}]
        assert load_task("squad", {}).read(read[0].sources[0])["answers"] == ["1874", "in 1874"] if read[0] else False

    @pytest.mark.parametrize("name", ["problems.eval", "passages.json"])
    def test_without_the_library_it_says_what_to_install(self, gsm8k: Task, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "inspect_ai.log", None)
        with pytest.raises(InputError, match=r"pip install 'pada-agent\[inspect\]'"):
            read_predictions(INSPECT / name, gsm8k)

    def test_numbers_and_a_chat(self, gsm8k: Task) -> None:
        pytest.importorskip("inspect_ai", reason="not installed: pip install 'pada-agent[inspect]'")
        known = known_rows(gsm8k, "validation", str(FILES / "lm_eval_tasks" / "problems.jsonl"))
        predictions = read_predictions(INSPECT / "problems.eval", gsm8k, known)
        assert {p.id: p.score.correct for p in predictions} == {"q1": True, "q2": False, "q3": True, "q4": False}
        assert (predictions[1].prompt, predictions[1].score.predicted) == (
            "Be brief.\nA box holds 4 rows of 6 eggs. How many eggs does it hold?",
            "10",
        )
        assert predictions[1].fields["answer"].endswith("#### 24")

    def test_graded_and_unscored_logs_are_scored_by_the_task(self, gsm8k: Task) -> None:
        pytest.importorskip("inspect_ai", reason="not installed: pip install 'pada-agent[inspect]'")
        assert verdicts("unscored.json", gsm8k, INSPECT) == {"1": True, "2": False, "3": False, "4": True}
        assert verdicts("passages.json", load_task("squad", {}), INSPECT) == {"p1": False, "p2": True, "p3": False}

    def test_options_and_epochs(self, tmp_path: Path) -> None:
        pytest.importorskip("inspect_ai", reason="not installed: pip install 'pada-agent[inspect]'")
        task = load_task("arc_challenge", {})
        shutil.copy(INSPECT / "matter.eval", tmp_path / "predictions")  # as an artifact is called
        first, second = read_predictions(tmp_path / "predictions", task)
        assert (first.score.extra, second.score.extra) == ({"epoch 2": 0.0}, {"epoch 2": 1.0})
        (tmp_path / "logs").mkdir()
        shutil.copy(INSPECT / "matter.eval", tmp_path / "logs")
        assert len(read_predictions(tmp_path / "logs", task)) == 2

    @pytest.mark.parametrize("name", ["problems.eval", "passages.json"])
    def test_half_a_log_is_told(self, gsm8k: Task, name: str, tmp_path: Path) -> None:
        pytest.importorskip("inspect_ai", reason="not installed: pip install 'pada-agent[inspect]'")
        whole = (INSPECT / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=name):
            read_predictions(tmp_path / name, gsm8k)

    def test_which_of_several_logs(self, gsm8k: Task) -> None:
        with pytest.raises(InputError, match=r"several logs of Inspect; name one: .*matter\.eval, .*passages\.json"):
            read_predictions(INSPECT, gsm8k)


def test_plain_outputs_scored_by_the_tasks_rows(gsm8k: Task, tmp_path: Path) -> None:
    rows = [{"prompt": "Ada has 3 apples and eats 1. How many are left?", "output": "#### 2"}]
    rows += [{"prompt": "Tom buys 5 pens at 3 dollars each. What does he pay?", "output": "#### 8"}]
    (tmp_path / "out.jsonl").write_text("\n".join(map(json.dumps, rows)))
    known = known_rows(gsm8k, "validation", str(FILES / "lm_eval_tasks" / "problems.jsonl"))
    assert [p.score.correct for p in read_predictions(tmp_path / "out.jsonl", gsm8k, known)] == [True, False]
