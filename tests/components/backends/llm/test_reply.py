import json

import pytest

from pada_agent.components.backends.llm.reply import fits, one_line, read_reply

SCORE = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}


def parse(value):
    if not isinstance(value, dict) or not isinstance(value.get("score"), int):
        raise ValueError('"score" must be a whole number')
    return value["score"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"score": 7}', ""),
        ('{"score": 7, "note": "two\nlines"}', ""),
        (' \n{"score": 7}\n', ""),
        ('```json\n{"score": 7}\n```', "fence"),
        ('Here:\n```\n{"score": 7}\n```\nAnything else?', "fence"),
        ('Sure! {"score": 7}. Let me know {whether} it helps.', "prose"),
        ('An example is {"score": 3}, mine is {"score": 7}', "prose"),
        ('{"note": 1} and then {"score": 7}', "prose"),
        ('<think>{"score": 2}?</think>{"score": 7}', ""),
        ('{"type": "object", "properties": {"score": 7}, "required": ["score"]}', "schema"),
        ('{"score": 7,}', "repaired"),
        ("{'score': 7}", "repaired"),
        ('{"score": 7', "repaired"),
    ],
)
def test_json_is_found_and_it_is_said_how(text, kind):
    reading = read_reply(text, "stop", SCORE, parse)
    assert (reading.value, reading.kind, reading.error, reading.fits) == (7, kind, "", True)


@pytest.mark.parametrize(
    ("text", "finish", "kind", "error"),
    [
        ('{"score": 7}', "length", "cut off", "cut off"),
        ('{"score": 7', "max_tokens", "cut off", "cut off"),
        ('{"score": 7}', "content_filter", "filtered", "content filter"),
        ("  \n", "stop", "empty", "empty"),
        ('{"score": 7', "", "no JSON", "no whole JSON"),  # not finished for sure: not repaired
        ("I cannot do that.", "stop", "no JSON", "no whole JSON"),
        ('{"score": "7.5"}', "stop", "refused", '"score" must be a whole number'),
        ("[7]", "stop", "refused", '"score" must be a whole number'),
        ('{"score": NaN}', "", "no JSON", "no whole JSON"),
        ('{"score": 7, "note": "\\ud83d"}', "stop", "refused", "surrogate"),
        (json.dumps(SCORE), "stop", "refused", "must be a whole number"),  # the schema itself
        ("[" * 100_000, "", "no JSON", "no whole JSON"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(text, finish, kind, error):
    reading = read_reply(text, finish, SCORE, parse)
    assert reading.value is None
    assert reading.kind == kind
    assert error in reading.error
    assert "\n" not in reading.error


def test_a_repair_is_validated_like_any_other_reply():
    assert read_reply('{"score": "seven",}', "stop", SCORE, parse).error == '"score" must be a whole number'


def test_the_error_told_is_of_the_json_that_has_the_shape():
    def never(value):
        raise ValueError(f"no: {value}")

    reading = read_reply('{"a": 1} {"score": 7} {"b": 2}', "stop", SCORE, never)
    assert reading.error == "no: {'score': 7}"
    assert reading.fits


def test_a_bug_in_a_parser_is_not_taken_for_a_bad_reply():
    with pytest.raises(KeyError):
        read_reply("{}", "stop", SCORE, lambda value: value["score"])


def test_shape():
    schema = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": SCORE}, "note": {"type": "string"}},
        "required": ["items"],
    }
    assert fits({"items": [{"score": 1}]}, schema)
    assert fits({"items": [], "note": "x", "more": 1}, schema)
    assert not fits({"items": [{"score": "1"}]}, schema)
    assert not fits({"items": [{"score": True}]}, schema)
    assert not fits({"note": "x"}, schema)
    assert not fits([], schema)
    assert not fits({"items": [], "note": 1}, schema)


def test_one_line():
    assert one_line("a\n  b\tc") == "a b c"
    assert len(one_line("x" * 1000)) == 200
