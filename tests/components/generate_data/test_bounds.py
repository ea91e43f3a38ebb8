"""How long what a teacher writes may be."""

import pytest
from pydantic import ValidationError

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import TrainRow
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.generate_data.bounds import Forms
from pada_agent.components.generate_data.samples import items_asked, read_items

SQUAD, GSM8K, HUMANEVAL = (load_task(name, {}) for name in ("squad", "gsm8k", "humaneval"))
SUMMARY = load_task("custom", {"prompt": "text", "answer": "summary", "scorer": "exact", "description": "Summaries."})


CODE = {"prompt": "def f():\n    '''x'''\n", "entry_point": "f", "canonical_solution": "    return 1", "test": ""}


def rows(*fields):
    return [TrainRow(id=f"t{i}", fields=f) for i, f in enumerate(fields)]


def words(length):
    return ("many words of plain text " * (length // 20))[:length]


def paragraph(length):
    return {"context": words(length), "question": "What is plain here?", "answers": ["text"]}


def summary(length):
    return SUMMARY.read({"text": words(2 * length), "summary": words(length)})


def properties(model):
    return items_asked(model, 2)["properties"]["items"]["items"]["properties"]


def test_what_training_rows_have_can_be_written_and_somewhat_more():
    squad = Forms.of(SQUAD, rows(paragraph(200), paragraph(5000)), 8192).sample
    squad(context=words(9900), question="What is plain here?", answer="text")
    with pytest.raises(ValidationError, match="at most 10000"):
        squad(context=words(10_100), question="What is plain here?", answer="text")
    custom = Forms.of(SUMMARY, rows(summary(3000)), 8192).sample
    custom(text=words(6000), answer=words(3000))
    reasoning = "\n".join([f"First she counts {n} + 1 = {n + 1} again." for n in range(30)] + ["#### 30"])
    gsm8k = Forms.of(GSM8K, rows({"question": words(300), "answer": reasoning}), 8192)
    for model in (gsm8k.sample, gsm8k.answer):
        assert properties(model)["steps"]["maxItems"] == 60
        with pytest.raises(ValidationError):
            model.model_validate({"question": words(300), "steps": ["x" * 300], "answer": "30"})


def test_nothing_may_be_longer_than_the_slm_is_trained_on():
    short, long = (properties(Forms.of(SQUAD, rows(paragraph(900)), tokens).sample)["context"] for tokens in (100, 200))
    assert short["maxLength"] == pytest.approx(500, rel=0.2), "about five characters a token in this text"
    assert long["maxLength"] == pytest.approx(2 * short["maxLength"], abs=2)


@pytest.mark.parametrize("length, fits", [(1200, True), (2400, False)])
def test_a_row_that_training_would_leave_out_is_refused_as_a_whole(length, fits):
    forms = Forms.of(SUMMARY, rows(summary(3000)), 700)
    sample = forms.sample(text=words(length), answer=words(length))
    fields = SUMMARY.fields_of(sample, {})
    if fits:
        assert forms.short_enough(SUMMARY, fields) is fields
    else:
        with pytest.raises(InputError, match=r"takes about \d+ tokens in all, and at most 700 are trained on"):
            forms.short_enough(SUMMARY, fields)


def test_short_training_rows_leave_room():
    bounds = properties(Forms.of(SQUAD, rows(paragraph(30)), 1024).sample)
    assert bounds["answer"]["maxLength"] == 40
    assert bounds["context"]["minLength"] < bounds["context"]["maxLength"], "the form's own least length can be met"


def test_what_no_training_row_has_is_not_held_down_by_it():
    model = Forms.of(HUMANEVAL, rows(CODE), 1024).sample
    model(code="def f():" + " " * 60, tests=["assert f() == " + "1" * 500] * 3)
    with pytest.raises(ValidationError, match=r"tests\.0"):
        model(code="def f():" + " " * 60, tests=["assert f() == " + "1" * 9000] * 3)


def test_fields_named_as_pydantics_own_methods_are_no_warning(recwarn):
    task = load_task("custom", {"prompt": "{json}{copy}", "answer": "schema", "scorer": "exact", "description": "Texts."})
    Forms.of(task, rows(task.read({"json": "a", "copy": "b", "schema": "c"})), 512)
    assert not recwarn.list


def test_long_bounds_are_the_readers_too():
    model = Forms.of(SQUAD, rows(paragraph(5000)), 8192).sample
    item = {"context": words(10_100), "question": "What is plain here?", "answer": "text"}
    written = read_items([item, {**item, "context": words(400)}], model, lambda s: SQUAD.fields_of(s, {}), 2)
    assert len(written.rows) == 1
    assert "context" in written.refused[0]


@pytest.mark.parametrize("task", [SQUAD, GSM8K, HUMANEVAL, SUMMARY, load_task("arc_challenge", {}), load_task("hellaswag", {})])
def test_every_text_and_list_is_bounded(task):
    fields = {
        "squad": paragraph(300),
        "gsm8k": {"question": "How many?", "answer": "1 + 1 = 2\n#### 2"},
        "humaneval": {**CODE, "test": "def check(candidate):\n    assert candidate() == 1"},
        "custom": summary(100),
    }.get(task.name, {"question": "Why is it so?", "options": ["a", "b", "c", "d"], "answer": "A"})
    forms = Forms.of(task, rows(fields), 1024)

    def parts(schema):
        found = [schema] if isinstance(schema, dict) and schema.get("type") in ("string", "array") else []
        below = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
        return found + [p for part in below for p in parts(part)]

    for model in filter(None, (forms.sample, forms.answer, forms.question)):
        strings = parts(items_asked(model, 2))
        assert len(strings) > 1
        for schema in strings:
            assert "maxLength" in schema or "maxItems" in schema, schema


def test_too_little_room_for_a_reply_says_what_is_needed():
    forms = Forms.of(SUMMARY, rows(summary(500), summary(500), summary(3000)), 8192)
    assert forms.check_room(5, 100_000) == ""
    with pytest.raises(
        InputError, match=r"max_tokens: 2000 is too few .* take about \d{4} tokens.* at least \d+, or generate.batch to 1$"
    ):
        forms.check_room(5, 2000)
    with pytest.raises(InputError, match=r"at least \d+$"):  # not one row fits
        forms.check_room(1, 20)
    mean = sum(forms.sizes) / 3 + 8
    with_longest = round(4 * mean + max(forms.sizes) + 8)
    assert str(with_longest) in forms.check_room(5, round(5 * mean)) and forms.check_room(5, with_longest) == ""
