"""The package check: each kind of damage to a good package is found and named."""

import copy
import json

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.kubeflow.package import documents_of, package_file
from pada_agent.pipelines.kubeflow.package_check import check_package

PACKAGE = package_file("vertex").read_text()
(SPEC,) = documents_of(PACKAGE)
TAKEN = ("executor", "driver", "root", "entrypoint", "system-container-impl", "train-lora-driver")


def executor(spec, stage="train-lora"):
    return spec["deploymentSpec"]["executors"][f"exec-{stage}"]["container"]


def task(spec, name="train-vanilla", layer="comp-prepare-and-start"):
    return spec["components"][layer]["dag"]["tasks"][name]


def rename_component(spec):
    task(spec)["componentRef"]["name"] = "comp-train-lorax"


def drop_executor(spec):
    del spec["deploymentSpec"]["executors"]["exec-generate-data-1"]


def add_executor(spec):
    spec["deploymentSpec"]["executors"]["exec-more"] = copy.deepcopy(executor(spec))


def foreign_image(spec):
    executor(spec)["image"] = "python:3.11"


def wrong_role(spec):
    executor(spec)["image"] = "registry.example/pada-agent/agents:0.1.0"


def untagged_image(spec):
    executor(spec)["image"] = "registry.example:5000/pada-agent/slm"


def half_a_digest(spec):
    executor(spec)["image"] = "registry.example/pada-agent/slm@sha256:12ab"


def stranger_s_image(spec):
    executor(spec)["image"] = "pada-agent/slm:0.1.0"


def count_as_a_number(spec):
    spec["root"]["inputDefinitions"]["parameters"]["accelerator_count"]["parameterType"] = "NUMBER_INTEGER"


def rename_task(name):
    def damage(spec):
        tasks = spec["components"]["comp-prepare-and-start"]["dag"]["tasks"]
        tasks[name] = tasks.pop("prepare")

    return damage


def display_as_a_driver(spec):
    task(spec)["taskInfo"]["name"] = "evaluate-slm-driver"


def install_at_start(spec):
    executor(spec)["command"] = ["sh", "-c", "pip install torch && python -m pada_agent.components.train_lora"]


def unknown_stage(spec):
    executor(spec)["command"] = ["python", "-m", "pada_agent.components.train_everything"]


def more_arguments(spec):
    executor(spec)["args"].append("--verbose")


def unknown_argument(spec):
    task(spec)["inputs"]["parameters"]["learning_rate"] = {"runtimeValue": {"constant": 0.1}}


def needed_input_gone(spec):
    del task(spec)["inputs"]["artifacts"]["train_data"]


def output_that_is_not_made(spec):
    task(spec)["inputs"]["artifacts"]["train_data"]["taskOutputArtifact"]["outputArtifactKey"] = "rows"


def input_from_nowhere(spec):
    inner = task(spec, "train-1", "comp-train-and-score-1")
    inner["inputs"]["artifacts"]["train_data"] = {"componentInputArtifact": "rows"}


def waits_for_nobody(spec):
    task(spec)["dependentTasks"].append("train-everything")


def unused_component(spec):
    spec["components"]["comp-more"] = {"dag": {"tasks": {}}}


def same_container(spec):
    spec["components"]["comp-again"] = {**copy.deepcopy(spec["components"]["comp-train-lora"]), "executorLabel": "exec-again"}
    spec["deploymentSpec"]["executors"]["exec-again"] = copy.deepcopy(spec["deploymentSpec"]["executors"]["exec-train-lora"])
    task(spec)["componentRef"]["name"] = "comp-again"


def unknown_field(spec):
    spec["pipelineInformation"] = {}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rename_component, "task 'train-vanilla' refers to component 'comp-train-lorax', which is not there"),
        (drop_executor, "executor 'exec-generate-data-1' is not defined"),
        (add_executor, "executor 'exec-more' is defined but not used"),
        (foreign_image, "image 'python:3.11' is not pada-agent/slm with a tag or a digest"),
        (wrong_role, "image 'registry.example/pada-agent/agents:0.1.0' is not pada-agent/slm with a tag or a digest"),
        (untagged_image, "is not pada-agent/slm with a tag or a digest"),
        (half_a_digest, "is not pada-agent/slm with a tag or a digest"),
        (stranger_s_image, "image 'pada-agent/slm:0.1.0' names no registry, and Docker's public one has a stranger's"),
        *((rename_task(name), f"task '{name}' is called as KFP and Argo call their own") for name in TAKEN),
        (count_as_a_number, "parameter 'accelerator_count' says what machine a task gets and is NUMBER_INTEGER, not STRING"),
        (display_as_a_driver, "task 'evaluate-slm-driver' is called as KFP and Argo call their own"),
        (install_at_start, "its command is ['sh', '-c', 'pip install torch"),
        (unknown_stage, "not python -m pada_agent.components.<stage>"),
        (more_arguments, "its arguments are ['--executor-input', '{{$}}', '--verbose']"),
        (unknown_argument, "task 'train-vanilla' passes 'learning_rate', which its component does not take"),
        (needed_input_gone, "task 'train-vanilla' does not pass 'train_data'"),
        (output_that_is_not_made, "task 'train-vanilla': 'train_data' comes from prepare, which does not make it"),
        (input_from_nowhere, "comes from the input 'rows' of 'comp-train-and-score-1', which is not there"),
        (waits_for_nobody, "task 'train-vanilla' waits for 'train-everything', which is not beside it"),
        (unused_component, "component 'comp-more' is not used by any task"),
        (same_container, "have the same container"),
        (unknown_field, "not a pipeline spec"),
    ],
)
def test_damage_is_named(damage, message):
    spec = copy.deepcopy(SPEC)
    damage(spec)
    with pytest.raises(InputError) as error:
        check_package(json.dumps(spec), "vertex")
    assert message in str(error.value)


def test_an_image_may_be_pinned():
    spec = copy.deepcopy(SPEC)
    for reference in (
        f"registry.example:5000/a/pada-agent/slm@sha256:{'0a' * 32}",
        f"localhost/pada-agent/slm:7@sha256:{'0a' * 32}",
    ):
        for stage in ("train-lora", "evaluate-slm"):
            executor(spec, stage)["image"] = reference
        assert check_package(json.dumps(spec), "vertex") == spec


def test_the_committed_package_is_sound():
    assert check_package(PACKAGE, "vertex") == SPEC


def test_what_is_not_yaml_is_one_line():
    with pytest.raises(InputError, match="not YAML") as error:
        check_package("a: [", "vertex")
    assert "\n" not in str(error.value)
