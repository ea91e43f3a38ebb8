"""The form to start a run, as it stands in the compiled packages and as prepare_data takes it."""

from functools import cache

import pytest
import yaml

from pada_agent.components.core.form import FIELDS, SETTING_OF
from pada_agent.pipelines.kubeflow.compile import component_yaml
from pada_agent.pipelines.kubeflow.package import TARGETS, documents_of, package_file, tasks_of
from pada_agent.pipelines.kubeflow.placement import KEYS

TYPES = {str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE"}


@cache
def spec_of(target):
    return documents_of(package_file(target).read_text())[0]


def parameters_of_prepare():
    (component,) = yaml.safe_load(component_yaml("prepare_data"))["components"].values()
    return component["inputDefinitions"]["parameters"]


@pytest.mark.parametrize("target", TARGETS)
def test_each_field_has_the_type_and_default_of_its_setting(target):
    form = spec_of(target)["root"]["inputDefinitions"]["parameters"]
    for name, field in FIELDS.items():
        assert form[name]["parameterType"] == TYPES[field.kind], name
        assert form[name].get("defaultValue") == field.default, name
        assert bool(form[name].get("isOptional")) == (field.default is not None), name
    assert (form["settings"]["parameterType"], form["settings"]["defaultValue"]) == ("STRUCT", {})


@pytest.mark.parametrize("target", TARGETS)
def test_each_field_is_described_in_a_line(target):
    form = spec_of(target)["root"]["inputDefinitions"]["parameters"]
    told = {name: of.get("description", "") for name, of in form.items()}
    assert all(20 < len(text) < 250 and "\n" not in text for text in told.values()), told
    assert len(set(told.values())) == len(told)
    assert "s3://" in told["work_uri"] if target == "kubernetes" else "s3://" not in str(told)


@pytest.mark.parametrize("target", TARGETS)
def test_prepare_data_is_given_the_form(target):
    ((_, _, prepare),) = [found for found in tasks_of(spec_of(target)) if found[2]["taskInfo"]["name"] == "prepare"]
    given = prepare["inputs"]["parameters"]
    for name in ("settings", "data_version", *FIELDS):
        assert given[name]["componentInputParameter"].removeprefix("pipelinechannel--") == name
    keys = {name: source["runtimeValue"]["constant"] for name, source in given.items() if name.endswith("_key")}
    assert keys == ({f"{role}_key": KEYS[role] for role in ("teacher", "judge")} if target == "kubernetes" else {})


def test_prepare_data_takes_each_field_or_none():
    """Alone it takes settings only: no field has a default there that could contradict them."""
    taken = parameters_of_prepare()
    for name in SETTING_OF:
        assert taken[name]["isOptional"] and taken[name].get("defaultValue", "") == "", name
        assert SETTING_OF[name] in taken[name]["description"]
    assert {name: taken[name]["parameterType"] for name in FIELDS} == {n: TYPES[f.kind] for n, f in FIELDS.items()}
