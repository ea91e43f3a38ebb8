"""Logs in the shapes that lm-evaluation-harness and plain scripts write."""

from typing import Any

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign_predictions import read_foreign
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import Task

Raw = dict[str, Any]
DOC = {"question": "Ada has 3 apples and eats 1. How many are left?", "answer": "3 - 1 = <<3-1=2>>2\n#### 2"}


@pytest.fixture
def gsm8k() -> Task:
    return load_task("gsm8k", {})


def logged(doc_id: int = 0, **changes: Any) -> Raw:
    """A generation as `--log_samples` writes it."""
    return {
        "doc_id": doc_id,
        "doc": DOC,
        "target": DOC["answer"],
        "arguments": {"gen_args_0": {"arg_0": "Question: Ada ...\nAnswer:", "arg_1": {"until": ["Question:"]}}},
        "resps": [["She has 3 - 1 = 4 left. #### 4"]],
        "filtered_resps": ["4"],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "doc_hash": "0f",
        "exact_match": 0.0,
    } | changes


def read(task: Task, *rows: Raw, split: Any = "validation") -> list[Any]:
    return read_foreign(task, ((f"log.jsonl:{n}", row) for n, row in enumerate(rows, 1)), split)


class TestLmEval:
    def test_a_generation(self, gsm8k: Task) -> None:
        (p,) = read(gsm8k, logged(7))
        assert (p.id, p.split, p.prompt) == ("7", "validation", "Question: Ada ...\nAnswer:")
        assert (p.output, p.score.predicted) == ("She has 3 - 1 = 4 left. #### 4", "4")
        assert (p.score.correct, p.score.valid) == (False, True)
        assert p.fields == gsm8k.read(DOC)
        assert p.reference == gsm8k.reference(p.fields)

    def test_older_logs_and_chats(self, gsm8k: Task) -> None:
        (p,) = read(gsm8k, logged(arguments=[["Question: Ada", {"until": []}]], exact_match=1.0))
        assert (p.prompt, p.score.correct) == ("Question: Ada", True)
        chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Ada?"}]
        (p,) = read(gsm8k, logged(arguments={"gen_args_0": {"arg_0": chat, "arg_1": {}}}))
        assert p.prompt == "Be brief.\nAda?"
        (p,) = read(gsm8k, {k: v for k, v in logged().items() if k not in ("arguments", "metrics")})
        assert DOC["question"] in p.prompt

    def test_no_answer_was_found(self, gsm8k: Task) -> None:
        (p,) = read(gsm8k, logged(filtered_resps=["[invalid]"]))
        assert (p.score.valid, p.score.predicted) == (False, "[invalid]")
        assert p.output == "She has 3 - 1 = 4 left. #### 4"

    def test_a_second_filter_is_a_second_metric(self, gsm8k: Task) -> None:
        first, second = read(
            gsm8k,
            logged(0),
            logged(1, exact_match=1.0),
            logged(0, filter="flexible-extract", exact_match=1.0, filtered_resps=["2"]),
            logged(1, filter="flexible-extract", exact_match=1.0),
        )
        assert (first.score.correct, first.score.predicted, first.score.extra) == (False, "4", {"flexible-extract": True})
        assert (second.score.correct, second.score.extra) == (True, {"flexible-extract": True})

    def test_multiple_choice_by_log_likelihood(self) -> None:
        task = load_task("arc_challenge", {})
        doc = {
            "id": "m1",
            "question": "What melts?",
            "choices": {"text": ["wood", "ice", "sand"], "label": ["A", "B", "C"]},
            "answerKey": "B",
        }
        calls = {f"gen_args_{n}": {"arg_0": "Q: What melts?\nA:", "arg_1": f" {o}"} for n, o in enumerate(doc["choices"]["text"])}
        likelihoods = [["-9.5", "False"], ["-7.25", "False"], ["-3.0", "True"]]
        row = logged(doc=doc, target="1", arguments=calls, resps=[[pair] for pair in likelihoods], filtered_resps=likelihoods)
        row |= {"filter": "none", "metrics": ["acc", "acc_norm"], "acc": 0.0, "acc_norm": 1.0}
        (p,) = read(task, row)
        assert (p.prompt, p.output, p.score.predicted) == ("Q: What melts?\nA:", "sand", "sand")
        assert (p.score.correct, p.score.valid, p.score.extra) == (False, True, {"acc_norm": True})
        assert p.reference == task.reference(p.fields)

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"metrics": ["f1"], "f1": 0.4}, "no verdict: none of the metrics (f1) is 0 or 1"),
            ({"metrics": []}, "no verdict: none of the metrics (there is none)"),
            ({"doc": "text"}, "no row: lm-eval writes 'doc'"),
            ({"doc": {"query": "x"}}, "not a row of task gsm8k: question: Field required"),
        ],
    )
    def test_what_cannot_be_used(self, gsm8k: Task, changes: Raw, complaint: str) -> None:
        with pytest.raises(InputError) as e:
            read(gsm8k, logged(0), logged(1, **changes))
        assert str(e.value).startswith(f"log.jsonl:2: {complaint}")

    def test_a_row_twice_under_one_filter(self, gsm8k: Task) -> None:
        with pytest.raises(InputError, match=r"log\.jsonl:2: id '0' comes twice"):
            read(gsm8k, logged(0), logged(0))
        with pytest.raises(InputError, match=r"log\.jsonl:3: id '0' comes twice"):
            read(gsm8k, logged(0), logged(0, filter="flexible"), logged(0, filter="flexible"))


class TestPlain:
    def test_all_fields_given(self, gsm8k: Task) -> None:
        row = {"id": 12, "prompt": "Ada?", "output": " 4 ", "reference": "2", "correct": False, "fields": DOC}
        (p,) = read(gsm8k, row, split="train")
        assert (p.id, p.split, p.prompt, p.output, p.reference) == ("12", "train", "Ada?", " 4 ", "2")
        assert (p.score.correct, p.score.valid, p.score.predicted) == (False, True, "4")
        assert p.fields == gsm8k.read(DOC)

    def test_the_least_that_will_do(self, gsm8k: Task) -> None:
        (p,) = read(gsm8k, {**DOC, "prediction": "", "correct": 0})
        assert (p.id, p.prompt) == ("validation-1", DOC["question"])
        assert p.score.valid is False

    def test_prompt_and_reference_stand_for_question_and_answer(self, gsm8k: Task) -> None:
        (p,) = read(gsm8k, {"prompt": DOC["question"], "reference": DOC["answer"], "response": "2", "exact_match": 1.0})
        assert p.fields == gsm8k.read(DOC)
        assert p.score.correct is True

    @pytest.mark.parametrize(
        ("row", "complaint"),
        [
            ({**DOC, "output": "4"}, "no verdict: 'correct' must be true or false, there is none"),
            ({**DOC, "output": "4", "correct": "no"}, "no verdict: 'correct' must be true or false, 'correct' is 'no'"),
            ({**DOC, "output": "4", "correct": 0.5}, "no verdict: 'correct' must be true or false, 'correct' is 0.5"),
            ({**DOC, "correct": True}, "no model output: one of output, prediction"),
            ({"output": "4", "correct": True}, "not a row of task gsm8k: question"),
        ],
    )
    def test_what_cannot_be_used(self, gsm8k: Task, row: Raw, complaint: str) -> None:
        with pytest.raises(InputError) as e:
            read(gsm8k, {**DOC, "output": "2", "correct": True}, row)
        assert str(e.value).startswith(f"log.jsonl:2: {complaint}")
