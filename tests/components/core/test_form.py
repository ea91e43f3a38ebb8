"""The fields of the form and a run's settings say the same."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.form import FIELDS, SETTING_OF, filled_in, parameters_of
from pada_agent.components.core.settings import EvaluateSlm, LoopSettings, Settings

FORM: dict[str, Any] = {
    "task": "gsm8k",
    "train": "gs://b/train.jsonl",
    "validation": "gs://b/validation.jsonl",
    "test": "gs://b/test.jsonl",
    "slm": "org/slm",
    "teacher": "big",
    "judge": "other",
}


def test_the_fields_that_must_be_given_are_all_that_a_run_needs() -> None:
    assert {name for name, field in FIELDS.items() if field.default is None} == FORM.keys()
    settings = Settings.model_validate(filled_in({}, FORM))
    assert (settings.task.train, settings.slm.model, settings.judge.model) == ("gs://b/train.jsonl", "org/slm", "other")


@pytest.mark.parametrize("name", FIELDS)
def test_type_and_default_are_those_of_the_setting(name: str) -> None:
    schema = Settings.model_json_schema()
    *sections, key = FIELDS[name].key.split(".")
    place = schema
    for section in sections:
        place = schema["$defs"][place["properties"][section]["$ref"].rpartition("/")[2]]
    said = place["properties"][key]
    assert {"string": str, "integer": int, "number": float}[said["type"]] is FIELDS[name].kind
    assert said.get("default") == FIELDS[name].default


def test_a_field_left_at_its_default_changes_nothing() -> None:
    given = {name: field.default for name, field in FIELDS.items() if field.default is not None}
    assert Settings.model_validate(filled_in({}, FORM | given)) == Settings.model_validate(filled_in({}, FORM))
    assert {"train_size", "teacher_url", "judge_url", "iterations", "seed", "budget_usd"} == given.keys()
    assert given["iterations"] == LoopSettings().iterations


def test_every_field_can_be_changed() -> None:
    changed = {
        "train_size": 7,
        "teacher_url": "https://t",
        "judge_url": "https://j",
        "iterations": 5,
        "seed": 3,
        "budget_usd": 1.5,
    }
    settings = Settings.model_validate(filled_in({}, FORM | changed))
    found = parameters_of(settings)
    assert found.pop("settings") == {}
    assert found == FORM | changed


def test_a_run_is_the_same_through_the_form() -> None:
    values = {
        **filled_in({}, FORM),
        "step_matched": False,
        "train": {"epochs": 2, "rank": 16},
        "budget": {"usd": 3, "stages": {"generate_data": {"calls": 9}}},
        "teacher": {
            "model": "big",
            "api_key_env": "TEACHER_API_KEY",
            "reasoning_effort": "low",
            "extra_body": {"top_k": 20, "min_p": 0.5, "chat_template_kwargs": {"enable_thinking": False, "stop": [1, None]}},
            "headers": {"X-Tenant": "7"},
            "usd_per_million_cached_input": 0.5,
        },
    }
    settings = Settings.model_validate(values)
    for names in (FIELDS, ["seed", "iterations"], []):
        found = json.loads(json.dumps(parameters_of(settings, names)))
        rest = found.pop("settings")
        assert found.keys() == set(names)
        assert Settings.model_validate(filled_in(rest, found)) == settings
        assert "rank" not in rest["train"], "it is the default"
    assert parameters_of(settings)["settings"].keys() == {"step_matched", "train", "budget", "teacher"}


def test_whole_numbers_stay_whole_through_kubeflow_s_parameters() -> None:
    extra = {"top_k": 20.0, "min_p": 0.5, "more": {"ids": [1.0, 2.5]}}
    settings = Settings.model_validate({**filled_in({}, FORM), "teacher": {"model": "big", "extra_body": extra}})
    assert json.dumps(settings.teacher.body_extras) == '{"top_k": 20, "min_p": 0.5, "more": {"ids": [1, 2.5]}}'


def test_a_contradiction_is_told_with_both_places() -> None:
    with pytest.raises(InputError) as caught:
        filled_in({"loop": {"iterations": 5}}, {"iterations": 3})
    assert str(caught.value) == ("iterations is 3 and settings.loop.iterations 5; say it in one place: leave it out of settings")
    with pytest.raises(InputError, match=r"seed is 1 and settings\.seed 2; slm is 'a' and settings\.slm\.model 'b'; say"):
        filled_in({"slm": {"model": "b"}, "seed": 2}, {"seed": 1, "slm": "a"})


def test_the_same_twice_is_none() -> None:
    given = {"loop": {"iterations": 3, "patience": 1}}
    assert filled_in(given, {"iterations": 3, "budget_usd": 2}) == {**given, "budget": {"usd": 2}}
    assert given == {"loop": {"iterations": 3, "patience": 1}}, "what came in stays as it was"


def test_a_section_that_is_none() -> None:
    with pytest.raises(InputError, match=r"^settings\.slm: is 'org/slm'; give an object there, or leave it out$"):
        filled_in({"slm": "org/slm"}, {"slm": "org/slm"})


def test_what_a_package_knows_is_a_setting_too() -> None:
    keys = {name: f"{name.upper()}_NAME" for name in SETTING_OF.keys() - FIELDS.keys()}
    settings = Settings.model_validate(filled_in({}, FORM | keys))
    assert (settings.teacher.api_key_env, settings.judge.api_key_env) == ("TEACHER_KEY_NAME", "JUDGE_KEY_NAME")


def test_a_model_that_thinks_needs_room_for_its_thoughts() -> None:
    values = Settings.model_validate(filled_in({}, FORM)).model_dump()
    values["slm"]["thinking"] = True
    with pytest.raises(ValidationError, match=r"slm.thinking needs evaluate.max_new_tokens.*e.g. 2048"):
        Settings.model_validate(values)
    with pytest.raises(ValidationError, match=r"slm\.thinking needs"):
        EvaluateSlm.model_validate({k: values[k] for k in EvaluateSlm.model_fields})
    values["evaluate"]["max_new_tokens"] = 2048
    assert Settings.model_validate(values).slm.thinking
