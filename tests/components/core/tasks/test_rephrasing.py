"""Which text of a row may be put into other words, and when its answer stays right."""

from pathlib import Path

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.method import load_method
from pada_agent.components.core.tasks.registry import TASKS, load_task
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.task import CodeResult

SHOP = str(Path(__file__).parents[4] / "pipelines" / "examples" / "text_to_sql" / "shop.sql")
CUSTOM = {"prompt": "{text}", "answer": "label", "scorer": "exact", "description": "d"}
CHOICE = {"question": "Which of the 3 boils?", "options": ["water", "sand", "2 stones"], "answer": "A"}
DOCUMENTED = {
    "prompt": 'import math\n\n\ndef area(r: int) -> float:\n    """\n    Area of a circle, area(0) is 0.\n    """\n',
    "entry_point": "area",
    "canonical_solution": "    return math.pi * r * r\n",
    "test": "def check(candidate):\n    assert candidate(0) == 0\n",
}
ROWS = {
    "squad": ({"context": "Ann sat by 2 lakes.", "question": "Who sat by 2 lakes?", "answers": ["Ann"]}, "By 2 lakes sat who?"),
    "arc_challenge": (CHOICE, "Of the 3, which one boils?"),
    "hellaswag": (CHOICE, "Among 3 things, which boils and"),
    "gsm8k": ({"question": "What is 1,200 and 3.50 more?", "answer": "1200 + 3.50 = 1203.50\n#### 1203.50"}, "Add 3.50 to 1200."),
    "humaneval": (DOCUMENTED, "How large a circle is; area(0) is 0."),
    "text_to_sql": (
        {"question": "Customers of Oslo with 5 or more?", "sql": "SELECT 1 FROM customers WHERE city = 'Oslo'", "family": "f"},
        "Of all in oslo, who has 5 at least?",
    ),
    "custom": ({"inputs": {"text": "Is 7 prime?"}, "answer": "yes", "choices": []}, "Would you call 7 prime?"),
}
OPTIONS = {"text_to_sql": {"database": SHOP}, "custom": CUSTOM}


def test_there_is_a_row_of_each_task():
    assert set(ROWS) == set(TASKS)


@pytest.fixture(params=ROWS)
def case(request):
    row, other = ROWS[request.param]
    return load_task(request.param, OPTIONS.get(request.param, {})), row, other


def test_other_words_change_the_wording_and_nothing_else(case):
    task, row, other = case
    load_method("auggpt").check(task)
    assert isinstance(task, Rephrasable)
    new = task.reworded(row, f"  {other} ")
    assert task.wording(new) == other != task.wording(row)
    assert task.Schema.model_validate(new).model_dump() == new
    assert task.target(new) == task.target(row), "the answer is what it was"
    assert task.wording(task.reworded(new, task.wording(row))) == task.wording(row)
    same = lambda fields: [text.replace(task.wording(fields), "") for text in (fields[k] for k in row) if isinstance(text, str)]  # noqa: E731
    assert same(new) == same(row)
    assert load_method("auggpt").form(task, "written").of(row).text == task.wording(row)


@pytest.mark.parametrize("change", [lambda t: t + " 99", lambda t: "".join(c for c in t if not c.isdigit()), lambda t: "  "])
def test_words_with_other_numbers_or_none_are_refused(case, change):
    task, row, other = case
    with pytest.raises(InputError, match=r"^text: (must have the numbers|is empty)"):
        task.reworded(row, change(other))


def test_a_function_keeps_its_signature_imports_and_tests(no_code):
    task = load_task("humaneval", {})
    new = task.reworded(DOCUMENTED, "How large a circle is; area(0) is 0.")
    assert new["prompt"].startswith("import math\n\n\ndef area(r: int) -> float:\n") and "Area of a circle" not in new["prompt"]
    assert (new["test"], new["canonical_solution"]) == (DOCUMENTED["test"], DOCUMENTED["canonical_solution"])
    ran = []
    task.score(new, task.target(new), lambda program, seconds: ran.append(program) or CodeResult(passed=True))
    exec(compile(ran[0], "program", "exec"), {})


def test_values_that_the_query_needs_must_stay():
    task, (row, _) = load_task("text_to_sql", OPTIONS["text_to_sql"]), ROWS["text_to_sql"]
    with pytest.raises(InputError, match="text: leaves out 'Oslo', which the answer needs"):
        task.reworded(row, "Who in the capital has 5 at least?")
    code = {**row, "question": "Norwegians with 5 or more?"}
    assert task.reworded(code, "Who of Norway has 5?")["question"], "a value that the question never named need not be there"
    with pytest.raises(InputError, match="question: is a query"):
        task.reworded({**row, "question": "All of Oslo?"}, "select name from customers where city is Oslo")


def test_a_stem_that_lists_its_options_is_refused():
    with pytest.raises(InputError, match="question: lists the options"):
        load_task("arc_challenge", {}).reworded({**CHOICE, "question": "Which boils?"}, "Which boils? A. water B. sand")


def test_of_several_fields_an_option_says_which_may_be_reworded():
    options = {**CUSTOM, "prompt": "Translate into {language}: {text}"}
    fields = {"inputs": {"language": "Danish", "text": "No entry"}, "answer": "Ingen adgang", "choices": []}
    with pytest.raises(InputError, match=r"^task\.options\.rephrase: .* say which: language, text$"):
        load_method("auggpt").check(load_task("custom", options))
    task = load_task("custom", {**options, "rephrase": "text"})
    load_method("auggpt").check(task)
    assert task.reworded(fields, "Keep out")["inputs"] == {"language": "Danish", "text": "Keep out"}
    with pytest.raises(InputError, match=r"^task\.options\.rephrase: the prompt has no field 'txt'"):
        load_task("custom", {**options, "rephrase": "txt"})


@pytest.mark.data
@pytest.mark.parametrize("name", ["squad", "arc_challenge", "hellaswag", "gsm8k", "humaneval"])
def test_published_rows_have_a_text_whose_words_may_change(name, published):
    task = load_task(name, {})
    for fields in map(task.read, published(name)):
        wording = task.wording(fields)
        assert wording.strip()
        new = task.reworded(fields, f"{wording} Think twice.")
        assert (task.target(new), task.wording(new).split()) == (task.target(fields), [*wording.split(), "Think", "twice."])
