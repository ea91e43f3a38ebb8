"""When an answer found blind is the sample's own, what is one answer in other words, and subtly wrong answers."""

import random
from contextlib import suppress

import pytest

from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.control_quality.solve import solve_request
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Provenance, SyntheticRow
from pada_agent.components.core.settings import ControlSettings
from pada_agent.components.core.tasks.gsm8k import strict_number
from pada_agent.components.core.tasks.humaneval import HumanEvalSample
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.sql_forms import plain_query, spoilt_queries

SQUAD = {"context": "In 1066 the Normans of Rouen beat King Harold.", "question": "Who beat Harold?", "answers": ["the Normans"]}
SUM = {"question": "What is 4 times 4.5?", "answer": "4 * 4.5 = 18\n#### 18"}
CHOICE = {"question": "Q?", "options": ["ice", "steam"], "answer": "B"}
DOUBLE = {
    "prompt": 'def double(x: int) -> int:\n    """Twice the number, as in double(2) == 4."""\n',
    "entry_point": "double",
    "canonical_solution": "    return x * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0\n",
}


def agrees(name, fields, answer, options=None, **more):
    task = load_task(name, options or {})
    return task.agrees(fields, task.Solved(answer=answer, **{"work": "", **more}), run_code).correct


@pytest.mark.parametrize(
    ("name", "fields", "answer", "same"),
    [
        ("gsm8k", SUM, "18.00", True),
        ("gsm8k", SUM, "$18", True),
        ("gsm8k", SUM, "18.5", False),
        ("squad", SQUAD, "Normans", True),
        ("squad", SQUAD, "the Normans of Rouen", True),
        ("squad", SQUAD, "King Harold", False),
        ("squad", {**SQUAD, "answers": ["King Harold"]}, "King William", False),
        ("squad", {**SQUAD, "answers": ["5 million", "5 million people"]}, "7 million", False),
        ("squad", {**SQUAD, "answers": ["in the year 1066", "1066 AD"]}, "1066", True),
        ("squad", {**SQUAD, "answers": ["in the year of our Lord 1066"]}, "1066", False),
        ("squad", SQUAD, "", False),
        ("arc_challenge", CHOICE, "B", True),
        ("arc_challenge", CHOICE, "A", False),
    ],
)
def test_when_two_answers_are_one(name, fields, answer, same):
    assert agrees(name, fields, answer) == same


@pytest.mark.parametrize(
    ("scorer", "own", "answer", "same"),
    [
        ({"scorer": "exact"}, "Ingen adgang", "ingen adgang.", True),
        ({"scorer": "exact"}, "Ingen adgang", "Adgang", False),
        ({"scorer": "exact"}, "the museum's map", '"The Museum\'s Map"', True),
        ({"scorer": "exact"}, "museum", "a museum", True),
        ({"scorer": "exact"}, "A", "the", False),
        ({"scorer": "exact"}, "+", "-", False),
        ({"scorer": "exact"}, "!", "?", False),
        ({"scorer": "exact"}, "C++", "C#", False),
        ({"scorer": "exact"}, "-5", "5", False),
        ({"scorer": "exact"}, "1.5", "15", False),
        ({"scorer": "numeric"}, "it is 4", "4.0", True),
        ({"scorer": "numeric"}, "1,000", "\u22121 000", False),
        ({"scorer": "numeric"}, "50 %", "0.5", True),
        ({"scorer": "numeric", "fractions": True}, "3/4", "0.75", True),
        ({"scorer": "f1"}, "the museum's map", "map of the museum", False),
        ({"scorer": "f1", "threshold": 0.3}, "the museum map", "map of the museum", True),
        ({"scorer": "rouge"}, "Close the door.", "close that door", True),
        ({"scorer": "rouge"}, "Close the door.", "open it", False),
        ({"scorer": "json"}, '{"a": 1, "b": [2]}', '```json\n{"b": [2.0], "a": 1}\n```', True),
        ({"scorer": "json"}, '{"a": 1}', '{"a": 2}', False),
        ({"scorer": "json"}, '[{"name": "f", "arguments": {}}]', '{"name": "f", "arguments": "{}"}', True),
        ({"scorer": "regex", "regex": "Label: (\\w+)"}, "Label: spam", "spam", True),
        ({"scorer": "regex", "regex": "Label: (\\w+)"}, "Label: spam", "Label: ham", False),
    ],
)
def test_a_custom_task_is_asked_by_its_scorer(scorer, own, answer, same):
    options = {"prompt": "text", "answer": "a", "description": "d", **scorer}
    assert agrees("custom", load_task("custom", options).read({"text": "No entry", "a": own}), answer, options) == same


def read(name, answer, fields, options=None):
    """A solver's reply as it is read: what cannot be used is told."""
    provenance = Provenance(branch="error", parent_ids=["t"], iteration=1, batch_id="b", attempt=0, request_hash="h")
    row = SyntheticRow(id="r", fields=fields, provenance=provenance)
    return solve_request(load_task(name, options or {}), row, ControlSettings()).parse({"work": "", "answer": answer}).answer


NUMERIC = {"prompt": "text", "answer": "a", "description": "d", "scorer": "numeric"}
ROOMS = {"inputs": {"text": "Rooms?"}, "answer": "4", "choices": []}


def test_a_number_is_an_answer_too():
    assert read("gsm8k", "$18, so 18", SUM) == "$18, so 18", "one number, said twice"
    assert (read("gsm8k", 18, SUM), read("squad", 1066, SQUAD), read("custom", 4.5, ROOMS, NUMERIC)) == ("18", "1066", "4.5")


@pytest.mark.parametrize(
    ("name", "fields", "answer", "why"),
    [
        ("gsm8k", SUM, "eighteen", "is no number"),
        ("gsm8k", SUM, "36/2", "has more than one number"),
        ("squad", SQUAD, "...", "has no word in it"),
        ("humaneval", DOUBLE, "  ", "is empty"),
        ("custom", ROOMS, "", "is empty"),
        ("custom", ROOMS, "four", "has no number in it"),
    ],
)
def test_an_answer_that_cannot_be_compared_is_told(name, fields, answer, why):
    with pytest.raises(ValueError, match=f"answer: .*{why}"):
        read(name, answer, fields, NUMERIC if name == "custom" else None)


def test_a_json_answer_may_be_given_as_a_value():
    options = NUMERIC | {"scorer": "json"}
    row = {"inputs": {"text": "Rooms?"}, "answer": '{"rooms": 4}', "choices": []}
    for given in ({"rooms": 4.0}, '{"rooms": 4}'):
        assert agrees("custom", row, read("custom", given, row, options), options)
    with pytest.raises(ValueError, match=r"answer: .*is not JSON \(Expecting"):
        read("custom", "{rooms: 4}", row, options)
    with pytest.raises(ValueError, match=r"answer: .*has no word in it"):
        read("custom", "?", ROOMS, NUMERIC | {"scorer": "rouge"})


def test_code_runs_on_the_tests_of_both():
    right = "def double(x):\n    return 2 * x"
    assert agrees("humaneval", DOUBLE, right), "the sample's tests do not tell a square from a double"
    assert not agrees("humaneval", DOUBLE, right, tests=["assert double(3) == 6"])
    assert agrees("humaneval", DOUBLE, right, tests=["assert double(3) == 7"]), "a test that its own program fails says nothing"
    assert agrees("humaneval", DOUBLE, right, tests=["print(double(3))"]), "no test"
    assert not agrees("humaneval", DOUBLE, right, tests=["assert double(3) == 7", "assert double(3) == 6"]), "each by itself"
    more = [*["assert double(2) == 4"] * 3, "assert double(3) == 6"]
    assert agrees("humaneval", DOUBLE, right, tests=more), "not more than were asked for"
    assert not agrees("humaneval", DOUBLE, "def double(x):\n    return x")


def test_a_program_that_loops_for_ever_agrees_with_none(monkeypatch):
    monkeypatch.setattr("pada_agent.components.core.tasks.humaneval.SECONDS", 0.5)
    right = "def double(x):\n    return 2 * x"
    assert not agrees("humaneval", DOUBLE, "def double(x):\n    while True: pass")
    for_ever = {**DOUBLE, "canonical_solution": "    while x == 3: pass\n    return 2 * x\n"}
    assert not agrees("humaneval", for_ever, right, tests=["assert double(3) == 6"])
    assert agrees("humaneval", DOUBLE, f"{right} if x < 3 else double(x)", tests=["assert double(3) == 6"]), (
        "nor do its tests count"
    )


@pytest.mark.parametrize("deep", ["1" + "+1" * 20_000, "-" * 100_000 + "1", "1" + "+1" * 600, "(" * 300 + "1" + ")" * 300])
def test_code_that_is_nested_too_deep_is_no_code(deep):
    task, right = load_task("humaneval", {}), "def double(x):\n    return 2 * x"
    assert agrees("humaneval", DOUBLE, right, tests=[f"assert double(2) == {deep}"]), "no test"
    agrees("humaneval", DOUBLE, f"def double(x):\n    return {deep}")
    docstring = '"""Gives twice its number back."""'
    sample = HumanEvalSample.model_construct(
        code=f"def double(x):\n    {docstring}\n    return {deep}", tests=["assert double(1) == 2"]
    )
    with suppress(InputError):
        fields = task.fields_of(sample, {})
        assert task.same_answer(fields) == "" and task.features(fields) is not None


def test_an_empty_function_is_one_at_any_depth():
    task = load_task("humaneval", {})
    for indent in ("  ", "\t", "        "):
        prompt = f'def double(x):\n{indent}"""Gives twice its number back."""\n'
        test = "def check(candidate):\n    assert candidate is not None\n"
        fields = {**DOUBLE, "prompt": prompt, "canonical_solution": f"\n{indent}return 2 * x\n", "test": test}
        assert "an empty function passes" in task.verify(fields, run_code)


def test_queries_that_differ_in_words_alone_are_one():
    plain = plain_query("SELECT city FROM customers WHERE age > 30 AND id = 1 ORDER BY city")
    assert plain == plain_query("select c.City as town from customers as c where 1 = c.id and 30 < c.age order by town asc;")
    assert plain != plain_query("SELECT city FROM customers WHERE age > 31 AND id = 1 ORDER BY city")
    assert plain != plain_query("SELECT city FROM customers WHERE age > 30 OR id = 1 ORDER BY city")
    assert plain != plain_query("SELECT city FROM customers WHERE age > 30 AND id = 1 ORDER BY city DESC")
    assert plain_query("no query") == ""


def test_programs_that_differ_in_names_alone_are_one():
    task = load_task("humaneval", {})
    renamed = {
        "prompt": 'def twice(n):\n    """Doubles it."""\n',
        "entry_point": "twice",
        "canonical_solution": "    return n * n\n",
    }
    assert task.same_answer(DOUBLE) == task.same_answer({**DOUBLE, **renamed})
    assert task.same_answer(DOUBLE) != task.same_answer({**DOUBLE, "canonical_solution": "    return x + x\n"})
    ordered = [
        {**DOUBLE, "prompt": f"def double(x, {name}):\n", "canonical_solution": f"    return sorted(x, {name}={name})\n"}
        for name in ("key", "reverse")
    ]
    assert task.same_answer(ordered[0]) != task.same_answer(ordered[1]), "what a call names is not the function's own"


@pytest.mark.parametrize(("name", "fields"), [("gsm8k", SUM), ("squad", SQUAD), ("arc_challenge", CHOICE)])
def test_a_number_a_span_and_a_letter_answer_many_questions(name, fields):
    assert load_task(name, {}).same_answer(fields) == ""


def test_a_spoilt_answer_is_wrong_by_a_detail():
    draw = random.Random(0)
    for name, fields in (("gsm8k", SUM), ("squad", SQUAD), ("arc_challenge", CHOICE)):
        spoilt = load_task(name, {}).spoil(fields, draw)
        answer = strict_number(spoilt) if name == "gsm8k" else spoilt[0] if name == "arc_challenge" else spoilt
        assert answer and not agrees(name, fields, answer), spoilt
        if name == "gsm8k":
            assert spoilt == f"4 * 4.5 = {answer}\n#### {answer}"
        if name == "squad":
            assert spoilt in SQUAD["context"]


def test_each_kind_of_change_of_a_query_is_one_of_those_drawn():
    sql = "SELECT MIN(price) FROM products WHERE stock > 5 AND id = 2 GROUP BY name ORDER BY name LIMIT 3"
    made = set(spoilt_queries(sql, random.Random(0)))
    assert sql not in made
    for change in (
        ("MIN", "MAX"),
        ("stock > 5", "stock < 5"),
        ("> 5", "> 6"),
        (" AND id = 2", ""),
        ("BY name L", "BY name DESC L"),
    ):
        assert sql.replace(*change) in made, change
