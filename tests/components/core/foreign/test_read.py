"""Logs in the shapes that lm-evaluation-harness, Inspect and plain scripts write; tests/evaluators has files that they wrote."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign.known_rows import KnownRow, KnownRows
from pada_agent.components.core.foreign.read import Reader, Reading
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeResult, Task

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


def reading(task: Task, *rows: Raw, split: Any = "validation", known: Sequence[KnownRow] = ()) -> Reading:
    reader = Reader(task, no_code, KnownRows(task, known))
    return reader.read(((f"log.jsonl:{n}", row) for n, row in enumerate(rows, 1)), split)


def read(task: Task, *rows: Raw, split: Any = "validation", known: Sequence[KnownRow] = ()) -> list[Any]:
    return reading(task, *rows, split=split, known=known).predictions


def no_code(program: str, seconds: float) -> CodeResult:
    raise AssertionError("these tasks run nothing")


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

    def test_graded_metrics_are_secondary_and_the_task_decides(self, gsm8k: Task) -> None:
        """A metric that happens to be 1 in some rows is no verdict on them."""
        half, whole = logged(0, metrics=["f1"], f1=0.5), logged(1, metrics=["f1"], f1=1.0, resps=[["#### 2"]])
        read_both = reading(gsm8k, half, whole)
        assert [p.score.correct for p in read_both.predictions] == [False, True]
        assert [p.score.extra["f1"] for p in read_both.predictions] == [0.5, 1.0]
        assert read_both.scored_here == 2

    @pytest.mark.parametrize("metric", [None, 999, -0.5, float("nan"), ["a", "b"], "1"])
    def test_what_is_no_share_is_no_metric(self, gsm8k: Task, metric: Any) -> None:
        (p,) = read(gsm8k, logged(0, metrics=["bypass"], bypass=metric, resps=[["#### 2"]], filtered_resps=["[invalid]"]))
        assert (p.score.correct, "bypass" in p.score.extra) == (True, False)

    def test_an_old_log_that_names_no_metrics(self, gsm8k: Task) -> None:
        old = {k: v for k, v in logged(f1=0.25).items() if k not in ("metrics", "exact_match")}
        (p,) = read(gsm8k, old | {"perplexity": 0.5})
        assert p.score.extra["f1"] == 0.25 and "perplexity" not in p.score.extra

    def test_what_the_evaluator_extracted_is_scored_first(self) -> None:
        task = load_task("custom", {"prompt": "question", "answer": "label", "scorer": "exact", "description": "Answer."})
        doc = {"question": "Yes or no?", "label": "yes"}
        (p,) = read(task, logged(0, doc=doc, metrics=["bypass"], resps=[["I think: yes"]], filtered_resps=["yes"]))
        assert (p.score.correct, p.output) == (True, "I think: yes")

    def test_rows_of_subtasks_that_share_ids(self, gsm8k: Task) -> None:
        other = {**DOC, "question": "Bo has 3 pears and eats 1. How many are left?"}
        rows = [logged(0), logged(0, doc=other, doc_hash="1a", exact_match=1.0), logged(0, filter="flexible", exact_match=1.0)]
        first, second = read(gsm8k, *rows)
        assert (first.id, second.id) == ("0", "0-2")
        assert (first.fields["question"], first.score.extra) == (DOC["question"], {"flexible": 1.0})
        assert (second.fields["question"], second.score.correct) == (other["question"], True)
        older = [{k: v for k, v in row.items() if k != "doc_hash"} for row in rows]
        assert [p.id for p in read(gsm8k, *older)] == ["0", "0-2"]

    def test_options_in_the_prompt(self) -> None:
        task = load_task("custom", {"prompt": "sentence", "answer": "answer", "scorer": "exact", "description": "Who?"})
        doc = {"sentence": "Sarah thanked Maria because _ had helped.", "answer": "Maria"}
        calls = [["Sarah thanked Maria because Sarah", " had helped."], ["Sarah thanked Maria because Maria", " had helped."]]
        row = logged(doc=doc, arguments=calls, resps=[[["-1.0", "False"]], [["-3.0", "False"]]], metrics=["acc"], acc=0.0)
        (p,) = read(task, row | {"filtered_resps": [["-1.0", "False"], ["-3.0", "False"]]})
        assert (p.prompt, p.output) == ("Sarah thanked Maria because ", "Sarah had helped.")
        calls = [["It was Maria, not", " her."], ["It was Marta, not", " her."]]
        (p,) = read(task, row | {"arguments": calls, "filtered_resps": [["-1.0", "False"], ["-3.0", "False"]]})
        assert (p.prompt, p.output) == ("It was ", "Maria, not her."), "options begin where a word does"

    def test_requests_without_a_prompt_are_no_options(self) -> None:
        task = load_task("custom", {"prompt": "q", "answer": "a", "scorer": "exact", "description": "?"})
        calls = [["Q", " one"], ["Q", " two"], ["", " one"], ["", " two"]]
        pairs = [["-2.0", "False"], ["-1.0", "False"], ["-0.1", "False"], ["-0.5", "False"]]
        row = logged(doc={"q": "Q", "a": "two"}, arguments=calls, resps=[[p] for p in pairs], filtered_resps=pairs)
        (p,) = read(task, row | {"metrics": ["acc"], "acc": 1.0})
        assert (p.output, p.score.correct) == ("two", True)

    def test_the_likelihood_of_one_text(self) -> None:
        task = load_task("custom", {"prompt": "q", "answer": "a", "scorer": "exact", "description": "?"})
        row = logged(
            doc={"q": "The sky is", "a": "blue"}, arguments=[["The sky is", " blue"]], metrics=["perplexity"], perplexity=-2.5
        )
        said, silent = (
            row | {"doc_id": n, "doc_hash": str(n), "resps": [[["-2.5", flag]]], "filtered_resps": [["-2.5", flag]]}
            for n, flag in enumerate(("True", "False"))
        )
        first, second = read(task, said, silent)
        assert (first.output, first.score.correct, second.output, second.score.correct) == ("blue", True, "", False)
        assert first.score.extra == {} and reading(task, said, silent).scored_here == 0

    def test_an_option_without_a_verdict_is_scored_by_its_letter(self) -> None:
        doc = {"id": "m", "question": "Ice?", "choices": {"text": ["hot", "cold", "dry"], "label": ["A", "B", "C"]}}
        doc["answerKey"] = "B"
        pairs = [["-9.0", "False"], ["-1.0", "False"], ["-8.0", "False"]]
        calls = [["Ice?", f" {option}"] for option in ("hot", "cold", "dry")]
        row = logged(doc=doc, arguments=calls, resps=[[p] for p in pairs], filtered_resps=pairs)
        (p,) = read(load_task("arc_challenge", {}), row | {"metrics": ["bypass"]})
        assert (p.output, p.score.predicted, p.score.correct) == ("cold", "B", True)

    @pytest.mark.parametrize(
        "changes", [{"arguments": 5}, {"arguments": [5]}, {"filtered_resps": 7}, {"resps": None}, {"metrics": "acc"}]
    )
    def test_hostile_lines_are_read_for_what_they_hold(self, gsm8k: Task, changes: Raw) -> None:
        (p,) = read(gsm8k, logged(**changes))
        assert p.score.correct is False


class TestInspect:
    def sample(self, **changes: Any) -> Raw:
        scores = {"match": {"value": "I", "answer": "4", "explanation": "4 is wrong"}}
        said = {"output": {"completion": "It is 4"}, "scores": scores, "error": None, "metadata": DOC}
        return {"id": "q", "epoch": 1, "input": DOC["question"], "choices": None, "target": "2", **said} | changes

    @pytest.mark.parametrize(
        ("value", "correct", "valid"),
        [
            ("C", True, True),
            ("I", False, True),
            ("N", False, False),
            (1, True, True),
            (0.0, False, True),
            (True, True, True),
            ("no", False, True),
        ],
    )
    def test_verdicts(self, gsm8k: Task, value: Any, correct: bool, valid: bool) -> None:
        (p,) = read(gsm8k, self.sample(scores={"match": {"value": value, "answer": "4", "explanation": "4 is wrong"}}))
        assert (p.score.correct, p.score.valid, p.score.detail) == (correct, valid, "4 is wrong")
        assert (p.id, p.prompt, p.output, p.reference) == ("q", DOC["question"], "It is 4", "2")

    @pytest.mark.parametrize("value", ["P", 0.25, "unclear", None, [1, 0], {"a": 0.5}, 7])
    def test_other_values_leave_it_to_the_task(self, gsm8k: Task, value: Any) -> None:
        read_one = reading(gsm8k, self.sample(scores={"match": {"value": value}}, output={"completion": "#### 2"}))
        assert (read_one.scored_here, read_one.predictions[0].score.correct) == (1, True)

    def test_several_scorers_and_epochs(self, gsm8k: Task) -> None:
        both = {"f1": {"value": 0.5, "answer": "4"}, "match": {"value": {"strict": "C", "loose": 1}}}
        (p,) = read(gsm8k, self.sample(scores=both), self.sample(scores=both, epoch=2))
        assert (p.score.correct, p.score.extra) == (True, {"f1": 0.5, "match/loose": 1.0, "epoch 2": 1.0})

    def test_a_chat_and_an_answer_in_parts(self, gsm8k: Task) -> None:
        chat = [{"role": "system", "content": "Count."}, {"role": "user", "content": DOC["question"]}]
        message = {"role": "assistant", "content": [{"type": "text", "text": "It is"}, {"type": "text", "text": "4"}]}
        row = self.sample(input=chat, output={"choices": [{"message": message}]}, metadata={"answer": DOC["answer"]})
        (p,) = read(gsm8k, row)
        assert (p.output, p.prompt) == ("It is\n4", f"Count.\n{DOC['question']}")
        assert p.fields["question"] == DOC["question"], "the system's turn is not part of the question"

    def test_an_explanation_that_repeats_the_answer_is_none(self, gsm8k: Task) -> None:
        (p,) = read(gsm8k, self.sample(scores={"match": {"value": "I", "answer": "4", "explanation": " It is 4\n"}}))
        assert p.score.detail == ""

    def test_samples_that_broke_off_are_counted(self, gsm8k: Task) -> None:
        broken = self.sample(id="b", error={"message": "timeout"}, scores=None, output={})
        read_two = reading(gsm8k, self.sample(), broken)
        assert (len(read_two.predictions), read_two.unanswered) == (1, 1)

    def test_options(self) -> None:
        row = self.sample(
            input="Ice?", choices=["hot", "cold", "dry"], target="B", metadata={}, output={"completion": "ANSWER: B"}
        )
        (p,) = read(load_task("arc_challenge", {}), row)
        assert p.fields["options"] == ["hot", "cold", "dry"] and p.fields["answer"] == "B"
        options = {
            "prompt": "question",
            "answer": "answer",
            "choices": "choices",
            "scorer": "multiple_choice",
            "description": "?",
        }
        for column in ("choices", "options"):
            (p,) = read(load_task("custom", options | {"choices": column}), row)
            assert p.fields["choices"] == ["hot", "cold", "dry"] and p.fields["answer"] == "B"


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
            ({**DOC, "output": "4", "correct": "no"}, "no verdict: 'correct' must be true or false, it is 'no'; leave it out"),
            ({**DOC, "output": "4", "correct": 0.5}, "no verdict: 'correct' must be true or false, it is 0.5"),
            ({**DOC, "correct": True}, "no model output: one of output, prediction"),
            ({"output": "4", "correct": True}, "not a row of task gsm8k: question"),
        ],
    )
    def test_what_cannot_be_used(self, gsm8k: Task, row: Raw, complaint: str) -> None:
        with pytest.raises(InputError) as e:
            read(gsm8k, {**DOC, "output": "2", "correct": True}, row)
        assert str(e.value).startswith(f"log.jsonl:2: {complaint}")

    def test_without_a_verdict_the_task_scores(self, gsm8k: Task) -> None:
        right, wrong = {**DOC, "id": "a", "output": "#### 2"}, {**DOC, "id": "b", "output": "#### 3", "correct": None}
        read_two = reading(gsm8k, right, wrong)
        assert [(p.score.correct, p.score.predicted) for p in read_two.predictions] == [(True, "2"), (False, "3")]
        assert read_two.scored_here == 2

    def test_a_row_without_fields_is_found_among_the_tasks_own(self, gsm8k: Task) -> None:
        fields = gsm8k.read(DOC)
        other = {**fields, "question": "Bo has 9 pears and gives 4 away. How many are left?"}
        known = [KnownRow("a", "validation", fields), KnownRow("b", "train", other)]
        by_id, by_prompt, as_asked = read(
            gsm8k,
            {"id": "a", "output": "#### 2"},
            {"prompt": f"  {other['question']}\n", "output": "#### 2"},
            {"id": "x", "prompt": gsm8k.messages(fields)[-1]["content"], "output": "#### 7"},
            known=known,
        )
        assert (by_id.fields, by_id.score.correct, by_id.split) == (fields, True, "validation")
        assert (by_prompt.fields, by_prompt.id, by_prompt.split) == (other, "b", "train")
        assert (as_asked.fields, as_asked.id, as_asked.score.correct) == (fields, "x", False)

    def test_the_tasks_rows_are_read_only_if_need_be(self, gsm8k: Task) -> None:
        def rows() -> Iterator[KnownRow]:
            raise InputError("a data set of 10 GB")
            yield

        reader = Reader(gsm8k, no_code, KnownRows(gsm8k, rows()))
        assert reader.read([("a:1", {**DOC, "output": "#### 2"})], "validation").predictions
        with pytest.raises(InputError, match="10 GB"):
            reader.read([("a:1", {"id": "a", "output": "#### 2"})], "validation")

    def test_a_row_of_both_splits_is_held_out(self, gsm8k: Task) -> None:
        fields = gsm8k.read(DOC)
        (p,) = read(
            gsm8k,
            {"prompt": DOC["question"], "output": "#### 2"},
            known=[KnownRow("a", "train", fields), KnownRow("b", "validation", fields)],
        )
        assert (p.split, p.id) == ("validation", "b")

    @pytest.mark.parametrize(
        "row",
        [
            {"id": "z", "output": "4"},
            {"id": "a", "prompt": "Another question altogether?", "output": "4"},
            {"prompt": "Which one? Two rows ask this.", "output": "4"},
        ],
    )
    def test_no_row_is_guessed(self, gsm8k: Task, row: Raw) -> None:
        """An id that is a row's by chance, a question that two rows have."""
        twins = [KnownRow(n, "validation", {"question": "Which one? Two rows ask this.", "answer": f"#### {n}"}) for n in "12"]
        with pytest.raises(InputError, match=r"log\.jsonl:1: not a row .* none of the task's rows has its id or its prompt"):
            read(gsm8k, row, known=[KnownRow("a", "validation", gsm8k.read(DOC)), *twins])
        with pytest.raises(InputError, match=r"give the row's fields in it .* task\.validation"):
            read(gsm8k, row)

    def test_the_last_turn_of_a_conversation_is_not_what_was_asked(self) -> None:
        task = load_task("custom", {"shape": "chat", "scorer": "exact", "description": "?"})
        turns = ["How do I greet a guest at noon?", "Good day.", "And what does one say in French?", "Bonjour."]
        chat = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, turns, strict=True)]
        known = [KnownRow("a", "validation", task.read({"messages": chat}))]
        (p,) = read(task, {"prompt": "\n".join(turns[:-1]), "output": "Bonjour."}, known=known)
        assert p.score.correct
        with pytest.raises(InputError, match="none of the task's rows has its id or its prompt"):
            read(task, {"prompt": turns[2], "output": "Bonjour."}, known=known)
