"""F1 and ROUGE: graded, with a threshold that makes a failure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Score
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.scorers.f1 import word_f1
from pada_agent.components.core.tasks.scorers.words import rouge_words, squad_words
from pada_agent.components.core.tasks.squad import word_f1 as official_f1
from pada_agent.components.core.tasks.task import CodeRunner, Solution, Task

ASCII = st.text(alphabet=st.sampled_from("abcAB th e.,'-3\n_$"), max_size=60)


def load(scorer: str, **more: Any) -> Task:
    return load_task("custom", {"prompt": "q", "answer": "a", "scorer": scorer, "description": "d", **more})


def scored(task: Task, answer: str, output: str, no_code: CodeRunner) -> Score:
    return task.score(task.read({"q": "What?", "a": answer}), output, no_code)


@pytest.mark.parametrize(
    ("scorer", "more", "answer", "output", "grade", "correct"),
    [
        ("f1", {}, "the blue whale", "A blue whale!", 1.0, True),
        ("f1", {}, "blue whale", "a whale", 2 / 3, True),
        ("f1", {"threshold": 0.7}, "blue whale", "a whale", 2 / 3, False),
        ("f1", {}, "blue whale", "a shark", 0.0, False),
        ("f1", {}, "鲸鱼是蓝色的", "蓝色的鲸鱼", 2 * 5 / 11, True),  # 一字一词
        ("f1", {}, "«Ingen adgang»", "Ingen adgang", 1.0, True),
        ("rouge", {}, "the cat sat on the mat", "the cat lay on a mat", 2 * 4 / 12, True),
        ("rouge", {"rouge": "rouge1"}, "the cat sat", "sat cat the", 1.0, True),
        ("rouge", {"rouge": "rougeL"}, "the cat sat", "sat cat the", 1 / 3, False),
        ("rouge", {"rouge": "rouge2"}, "the cat sat", "the cat ran", 0.5, True),
        ("rouge", {"rouge": "rouge2", "threshold": 0.51}, "the cat sat", "the cat ran", 0.5, False),
        ("rouge", {}, "Größe zählt", "größe zählt nicht", 0.8, True),
        ("rouge", {}, "नमस्ते दुनिया", "नमस्ते", 2 / 3, True),
    ],
)
def test_grades(
    scorer: str, more: dict[str, Any], answer: str, output: str, grade: float, correct: bool, no_code: CodeRunner
) -> None:
    task = load(scorer, **more)
    found = scored(task, answer, output, no_code)
    assert (found.grade, found.correct, found.valid) == (pytest.approx(grade, abs=1e-6), correct, True)
    assert correct or f"{grade:.2f}, below" in found.detail
    assert scored(task, answer, answer, no_code).grade == 1
    for nothing in ("", " \n", "?!", "<think>the blue whale"):
        empty = scored(task, answer, nothing, no_code)
        assert (empty.correct, empty.valid, empty.grade) == (False, False, 0)


@given(ASCII, ASCII)
def test_f1_is_the_official_scripts(a: str, b: str) -> None:
    assert word_f1(squad_words(a), squad_words(b)) == pytest.approx(official_f1(a, b))


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_the_reference_packages(kind: str) -> None:
    task, theirs = load("rouge", rouge=kind), RougeScorer([kind])

    @given(ASCII, ASCII)
    def same(output: str, answer: str) -> None:
        if rouge_words(answer) and rouge_words(output):
            ours = scored(task, answer, output, lambda *_: pytest.fail("runs code")).grade
            assert ours == pytest.approx(theirs.score(answer, output)[kind].fmeasure, abs=1e-6)

    same()


def test_an_answer_without_words_is_refused() -> None:
    for scorer in ("f1", "rouge"):
        with pytest.raises(InputError, match=r"a: '\?' has no word in it"):
            load(scorer).read({"q": "What?", "a": "?"})
    with pytest.raises(InputError, match="a: 'the' has no word in it"):
        load("f1").read({"q": "What?", "a": "the"})


def test_blind_solving_and_verify_go_by_the_threshold(no_code: CodeRunner) -> None:
    task = load("rouge", threshold=0.6)
    fields = task.read({"q": "What?", "a": "the cat sat on the mat"})
    assert task.verify(fields, no_code) == ""
    assert task.agrees(fields, Solution(answer="The cat sat on a mat."), no_code).correct
    assert not task.agrees(fields, Solution(answer="A dog ran."), no_code).correct
    assert not task.agrees(fields, Solution(answer=""), no_code).valid


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"scorer": "exact", "threshold": 0.5}, "threshold: belongs to scorer f1 and rouge and json and judge, not to exact"),
        ({"scorer": "f1", "rouge": "rouge1"}, "rouge: belongs to scorer rouge, not to f1"),
        ({"scorer": "rouge", "rouge": "rouge3"}, "rouge: Input should be"),
        ({"scorer": "f1", "threshold": 0}, "threshold: "),
        ({"scorer": "f1", "threshold": 1.1}, "threshold: "),
        ({"scorer": "f1", "fractions": True}, "fractions: belongs to scorer numeric, not to f1"),
    ],
)
def test_options_that_belong_elsewhere(more: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load(**more)
