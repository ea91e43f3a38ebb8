"""HumanEval through the sandbox: all published rows, what counts as code, and new rows."""

import ast
from collections.abc import Callable
from typing import Any

import pytest

from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.tasks.code_features import code_features
from pada_agent.components.core.tasks.humaneval import HumanEvalAnswer, HumanEvalQuestion, HumanEvalSample, read_code
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeResult, CodeRunner

HUMANEVAL = load_task("humaneval", {})
Published = Callable[[str], list[dict[str, Any]]]

# Their tests draw random inputs in a loop, or stand beside a docstring that is none: not in the form a teacher writes.
NO_PLAIN_TESTS = {"HumanEval/50", "HumanEval/38", "HumanEval/32"}
NO_DOCSTRING = {"HumanEval/115"}

ROW = {
    "prompt": 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """Add up a list, e.g. [1, 2] to 3."""\n',
    "entry_point": "total",
    "canonical_solution": "    return sum(xs)\n",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n",
}


@pytest.mark.data
def test_canonical_solutions_give_all_and_empty_bodies_none(published: Published, no_code: CodeRunner) -> None:
    rows = published("humaneval")
    assert len(rows) == 164
    for raw in rows:
        fields = HUMANEVAL.read(raw)
        gold = HUMANEVAL.score(fields, HUMANEVAL.target(fields), run_code)
        assert (gold.correct, gold.valid) == (True, True), (raw["task_id"], gold.detail)
        empty = HUMANEVAL.score(fields, "```python\n    pass\n```", run_code)
        assert (empty.correct, empty.valid) == (False, True), raw["task_id"]
        nothing = HUMANEVAL.score(fields, "", no_code)
        assert (nothing.correct, nothing.valid) == (False, False)


@pytest.mark.data
def test_a_row_shown_to_the_teacher_comes_back_as_a_row_that_scores(published: Published) -> None:
    odd = set()
    for number, raw in enumerate(published("humaneval")):
        fields = HUMANEVAL.read(raw)
        try:
            again = HUMANEVAL.fields_of(HUMANEVAL.sample_of(fields), fields)
        except InputError:
            odd.add(raw["task_id"])
            continue
        assert HUMANEVAL.features(again) == HUMANEVAL.features(fields)
        assert HUMANEVAL.read(again) == again
        if number % 8 == 0:
            assert HUMANEVAL.verify(again, run_code) == "", raw["task_id"]
            assert HUMANEVAL.score(again, HUMANEVAL.target(again), run_code).correct, raw["task_id"]
    assert odd == NO_PLAIN_TESTS | NO_DOCSTRING


@pytest.mark.parametrize(
    ("output", "correct", "valid"),
    [
        ("Sure!\n```python\ndef total(xs):\n    return sum(xs)\n```\nIt adds up.", True, True),
        ("```\ndef total(xs):\n    return sum(xs)\n```", True, True),
        ("```py\ndef total(xs):\n    return sum(xs)", True, True),
        ("def total(xs):\n    return sum(xs)", True, True),
        ("  ```python\n  def total(xs):\n      return sum(xs)\n  ```", True, True),
        (
            "```python\ndef add(a, b):\n    return a + b\n\ndef total(xs):\n    return add(sum(xs), 0)\n```",
            True,
            True,
        ),
        ("    return sum(xs)", True, True),
        ("return sum(xs)", True, True),
        ("    return sum(xs)\n```\nThis sums the list.", True, True),
        ("def total(xs):\n    return sum(xs)\n```\nThis sums the list.", True, True),
        ("```python\n    n = 0\n    return sum(xs)\n```\n```python\nnonsense(\n```", True, True),
        ("```python\ndef total(xs):\n    return max(xs)\n```\n```python\ndef total(xs):\n    return sum(xs)\n```", False, True),
        ("```python\ndef sum_up(xs):\n    return sum(xs)\n```", False, True),
        ("```python\ndef total(xs):\n    return xs\n```", False, True),
        ("```python\nimport os\nos._exit(0)\n```", False, True),
        ("```python\ndef total(xs):\n    raise SystemExit(0)\n```", False, True),
        ("I cannot do that.", False, False),
        ("```python\ndef total(xs)\n    return\n```", False, False),
        ("```python\n```", False, False),
        ("", False, False),
    ],
)
def test_what_counts_as_code(output: str, correct: bool, valid: bool) -> None:
    score = HUMANEVAL.score(ROW, output, run_code)
    assert (score.correct, score.valid) == (correct, valid), score.detail


def test_helpers_and_imports_of_the_prompt_are_there() -> None:
    row = ROW | {
        "prompt": 'import math\n\ndef half(x):\n    return x // 2\n\ndef f(x):\n    """The root of half of x, cut off."""\n',
        "entry_point": "f",
        "canonical_solution": "    return math.isqrt(half(x))\n",
        "test": "def check(candidate):\n    assert candidate(18) == 3\n",
    }
    assert HUMANEVAL.score(row, HUMANEVAL.target(row), run_code).correct
    assert HUMANEVAL.target(row) == "```python\nimport math\n\n\ndef f(x):\n    return math.isqrt(half(x))\n```"
    assert read_code("    return 1", "f") == "    return 1"


def test_the_program_and_its_time_are_those_of_the_reference() -> None:
    seen = []

    def runner(program: str, seconds: float) -> CodeResult:
        seen.append((program, seconds))
        return CodeResult(passed=True)

    HUMANEVAL.score(ROW, "    return 1", runner)
    assert seen == [(f"{ROW['prompt']}\n    return 1\n{ROW['test']}\ncheck(total)", 3.0)]


def test_odd_escapes_in_an_answer_are_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert HUMANEVAL.score(ROW, "    x = '\\d'\n    return sum(xs)", run_code).correct
    assert not recwarn.list


def test_what_failed_is_said() -> None:
    detail = HUMANEVAL.score(ROW, "    return 1", run_code).detail
    assert "AssertionError" in detail and "candidate([1, 2]) == 3" in detail


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"entry_point": "sum_up"}, "defines no function 'sum_up'"),
        ({"canonical_solution": "    return (\n"}, "is no Python"),
        ({"test": ""}, "test: "),
        ({"test": "def check(candidate:"}, "test: is no Python"),
        ({"prompt": 3}, "prompt: "),
    ],
)
def test_broken_rows_are_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        HUMANEVAL.read(ROW | changes)


CODE = 'def double(x: int) -> int:\n    """Give twice the number x.\n\n    double(2) is 4.\n    """\n    return 2 * x'
TESTS = ["assert double(2) == 4", "assert double(0) == 0", "assert double(-1) == -2"]


def sample(code: str = CODE, tests: list[str] | None = None) -> HumanEvalSample:
    return HumanEvalSample(code=code, tests=tests or TESTS)


def test_a_new_row() -> None:
    for code in (CODE, f"```python\n{CODE}\n```"):
        fields = HUMANEVAL.fields_of(sample(code), {})
        assert fields["entry_point"] == "double"
        assert fields["prompt"] == CODE.removesuffix("    return 2 * x")
        assert fields["canonical_solution"] == "    return 2 * x\n"
        assert "assert candidate(2) == 4" in fields["test"]
        assert HUMANEVAL.verify(fields, run_code) == ""
        assert HUMANEVAL.score(fields, HUMANEVAL.target(fields), run_code).correct


@pytest.mark.parametrize(
    ("new", "complaint"),
    [
        (sample(CODE.replace("return", "retrn")), "code: is no Python"),
        (sample(CODE + "\n\nprint(double(3))"), "must end with one function"),
        (sample("x = 1\n" * 20), "must end with one function"),
        (
            sample(CODE.replace("Give twice the number x.\n\n    double(2) is 4.\n    ", "Twice.") + "  # " + "x" * 40),
            "needs a docstring",
        ),
        (sample(CODE.replace("    return 2 * x", "")), "and code below it"),
        (
            sample('def double(x: int) -> int: """Give twice the number x, whatever it is."""; return 2 * x'),
            "on lines of its own",
        ),
        (sample(tests=["double(2) == 4", *TESTS]), "is not one assert statement"),
        (sample(tests=["assert double(2", *TESTS]), "is no Python"),
        (sample(tests=["assert 2 * 2 == 4", *TESTS]), "does not call double"),
    ],
)
def test_what_is_wrong_with_a_new_row_is_said(new: HumanEvalSample, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        HUMANEVAL.fields_of(new, {})


def test_new_rows_are_run() -> None:
    wrong = HUMANEVAL.fields_of(sample(tests=["assert double(2) == 5", *TESTS[:2]]), {})
    assert "fails its own tests: AssertionError" in HUMANEVAL.verify(wrong, run_code)
    empty = HUMANEVAL.fields_of(sample(tests=["assert double(2) != 5"] * 3), {})
    assert HUMANEVAL.verify(empty, run_code).startswith("an empty function passes the tests too")


def test_features_are_read_off_the_code() -> None:
    code = (
        "def f(words):\n    def g(w):\n        return w.lower()[1:]\n    seen = {}\n"
        "    for a in words:\n        for b in words:\n"
        "            seen[a] = f(b) if a % 2 else sorted(g(b))\n    return [max(x) for x in seen]\n"
    )
    assert code_features(ast.parse(code).body[0], "f") == {
        *("helper function", "string methods", "slicing", "dictionary", "loop", "nested loops", "recursion", "conditions"),
        *("remainder", "sorting", "comprehension", "minimum or maximum"),
    }
    assert code_features(ast.parse("def f(x):\n    return x").body[0], "f") == set()
    assert HUMANEVAL.features(ROW) == {"sum"}


def test_a_function_is_run_before_its_docstring_is_written() -> None:
    bare = "def double(x: int) -> int:\n    result = 2 * x\n    return result"
    answer = HUMANEVAL.answered(HumanEvalAnswer(code=f"```python\n{bare}\n```", tests=TESTS))
    assert answer["prompt"] == "def double(x: int) -> int:\n" and HUMANEVAL.verify(answer, run_code) == ""
    text = "Give twice the number x.\n\ndouble(2) is 4, and \\d is no digit."
    whole = HUMANEVAL.with_question(answer, HumanEvalQuestion(docstring=text))
    assert HUMANEVAL.verify(whole, run_code) == "" and HUMANEVAL.read(whole) == whole
    assert HUMANEVAL.question_of(whole).model_dump() == {"docstring": text}
    assert HUMANEVAL.answer_of(whole).model_dump() == {"code": bare, "tests": TESTS}
    assert HUMANEVAL.features(whole) == HUMANEVAL.features(answer)
    documented = HUMANEVAL.answered(HumanEvalAnswer(code=CODE, tests=TESTS))
    assert documented["prompt"] == "def double(x: int) -> int:\n", "a docstring that was written all the same is left out"
    for crowded in ("def double(x: int) -> int: return 2 * x", "def double(\n    x: int,\n) -> int: return 2 * x\n"):
        with pytest.raises(InputError, match="below the def line"):
            HUMANEVAL.answered(HumanEvalAnswer(code=crowded, tests=TESTS))
    within = "def double(x):\n    @staticmethod\n    def twice(y):\n        return 2 * y\n    return twice(x)"
    decorated = HUMANEVAL.with_question(
        HUMANEVAL.answered(HumanEvalAnswer(code=within, tests=TESTS)), HumanEvalQuestion(docstring=text)
    )
    assert HUMANEVAL.verify(decorated, run_code) == "" and HUMANEVAL.features(decorated) == {"helper function"}
    with pytest.raises(InputError, match="docstring: is none that Python reads"):
        HUMANEVAL.with_question(answer, HumanEvalQuestion(docstring="Gives back a \0 and more of it."))
    with pytest.raises(InputError, match="docstring: "):
        HUMANEVAL.with_question(answer, HumanEvalQuestion(docstring='It says """ in the middle.'))
    failing = HUMANEVAL.answered(HumanEvalAnswer(code=bare.replace("2", "3"), tests=TESTS))
    assert "fails its own tests" in HUMANEVAL.verify(failing, run_code)
