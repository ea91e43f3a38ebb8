"""What is compiled for each target, and that the committed packages are it."""

import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
from compiled import without_sdk_version
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.form import FIELDS
from pada_agent.components.images import image
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.kubeflow.compile import compile_loop, write_components, write_package
from pada_agent.pipelines.kubeflow.package import documents_of, package_file, stage_of, tasks_of
from pada_agent.pipelines.kubeflow.package_check import check_package, containers
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import USER, Kubernetes, Vertex
from pada_agent.pipelines.kubeflow.placement_file import read_placement

SMALL = Shape(max_iterations=1, attempts=1)
GPU_STAGES = {name for name, stage in STAGES.items() if stage.resources.gpu}


@cache
def documents(target):
    return documents_of(package_file(target).read_text())


def small_of(place):
    return documents_of(compile_loop(SMALL, place))


def executors_on_kubernetes():
    return documents("kubernetes")[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def stages(target="kubernetes"):
    """The stage of each executor, by its label: some have several."""
    return {label: stage_of(e["container"]) for label, e in documents(target)[0]["deploymentSpec"]["executors"].items()}


@pytest.mark.parametrize(("target", "place"), [("kubernetes", Kubernetes()), ("vertex", Vertex())])
def test_the_committed_package_is_what_the_source_says(target, place):
    assert without_sdk_version(package_file(target).read_text()) == without_sdk_version(compile_loop(Shape(), place)), (
        "write it again: python -m pada_agent.pipelines.kubeflow.compile"
    )


@pytest.mark.parametrize("target", ["kubernetes", "vertex"])
def test_the_package_is_small_enough_to_be_retried(target):
    text = package_file(target).read_text()
    spec = check_package(text, target)
    assert containers(spec) == 48  # all of which a run may have: step-matched, which has five places, is written once
    assert len(text.encode()) < 110_000


def test_no_code_no_install_and_no_key_travels_in_a_package():
    for target in ("kubernetes", "vertex"):
        text = package_file(target).read_text()
        for word in ("pip install", "pip3", "sh -c", "base64", "program_path", "import ", "sk-", "Bearer"):
            assert word not in text, word
    parameters = documents("vertex")[0]["root"]["inputDefinitions"]["parameters"]
    assert not [name for name in parameters if "key" in name or "token" in name]


def test_all_but_what_exports_may_be_taken_over_from_an_earlier_run():
    assert [name for name, stage in STAGES.items() if not stage.cached] == ["update_state", "publish_result"]
    spec, of = documents("kubernetes")[0], stages()
    for _, name, task in tasks_of(spec):
        if stage := of.get(spec["components"][task["componentRef"]["name"]].get("executorLabel")):
            assert bool(task["cachingOptions"].get("enableCache")) == STAGES[stage].cached, name
            assert task["retryPolicy"]["maxRetryCount"] == STAGES[stage].retry.count, name


def test_gpu_is_asked_for_by_training_and_evaluation_alone():
    executors = documents("kubernetes")[0]["deploymentSpec"]["executors"]
    asks = {name for name, e in executors.items() if "accelerator" in e["container"]["resources"]}
    assert {stages()[name] for name in asks} == GPU_STAGES
    assert asks == {name for name, stage in stages().items() if stage in GPU_STAGES}
    for name in asks:
        assert executors[name]["container"]["resources"]["accelerator"] == {
            "count": "1", "resourceCount": "1", "resourceType": "nvidia.com/gpu", "type": "nvidia.com/gpu",
        }  # fmt: skip
        assert executors_on_kubernetes()[name]["tolerations"] == [
            {"effect": "NoSchedule", "key": "nvidia.com/gpu", "operator": "Exists"}
        ]
        (shared,) = executors_on_kubernetes()[name]["emptyDirMounts"]
        assert (shared["mountPath"], shared["medium"]) == ("/dev/shm", "Memory")


def test_each_agent_gets_its_own_key_and_no_other():
    expected = {
        "prepare_data": set(),
        "train_lora": set(),
        "evaluate_slm": set(),
        "update_state": set(),
        "publish_result": set(),
        "analyze_patterns": {"TEACHER_API_KEY"},
        "generate_data": {"TEACHER_API_KEY"},
        "control_quality": {"JUDGE_API_KEY", "TEACHER_API_KEY"},  # the second where the teacher solves
    }
    assert set(stages().values()) == expected.keys()
    for label, config in executors_on_kubernetes().items():
        keys = {e["envVar"] for s in config["secretAsEnv"] if not s.get("optional") for e in s["keyToEnv"]}
        assert keys == expected[stages()[label]], label


def test_every_pod_has_a_deadline_a_user_and_the_labels_of_the_network_policies():
    for name, config in executors_on_kubernetes().items():
        assert int(config["activeDeadlineSeconds"]) >= 3600, name
        assert config["securityContext"] == {"runAsUser": str(USER), "runAsGroup": str(USER), "runAsNonRoot": True}
        labels = config["podMetadata"]["labels"]
        assert labels["pada-agent/stage"] == stages()[name].replace("_", "-")
        asks_llm = any(not secret.get("optional") for secret in config["secretAsEnv"])
        assert labels["pada-agent/egress"] == ("llm" if asks_llm else "storage")


def test_vertex_takes_machine_and_accelerator_as_parameters_through_every_gate():
    spec = documents("vertex")[0]
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    machine = {"accelerator_type", "accelerator_count", "cpu_limit", "memory_limit"}
    assert parameters.keys() - FIELDS.keys() - {"settings", "work_uri", "data_version", "export_uri"} == machine
    assert {parameters[name]["parameterType"] for name in machine} == {"STRING"}, (
        "a number as a count is no GPU to a driver that resolves text only"
    )
    resources = spec["deploymentSpec"]["executors"]["exec-train-lora"]["container"]["resources"]
    assert resources["accelerator"]["resourceType"] == "{{$.inputs.parameters['pipelinechannel--accelerator_type']}}"
    # Followed from each training task outwards, the parameter leads to the run's own.
    inside = {task["componentRef"]["name"]: (dag, task) for dag, _, task in reversed(list(tasks_of(spec)))}
    for dag, name, task in tasks_of(spec):
        if task["componentRef"]["name"] != "comp-train-lora":
            continue
        outer = task["inputs"]["parameters"]["pipelinechannel--accelerator_type"]["componentInputParameter"]
        at = dag
        while at != "root":
            assert outer in spec["components"][at]["inputDefinitions"]["parameters"], name
            at, gate = inside[at]
            outer = gate["inputs"]["parameters"][outer]["componentInputParameter"]
        assert outer == "accelerator_type", name


def test_an_attempt_that_takes_all_its_time_leaves_room_for_the_next():
    """Argo starts no attempt later than this after the first one's start: it is no longest pause."""
    spec, of = documents("kubernetes")[0], stages()
    for _, name, task in tasks_of(spec):
        if stage := of.get(spec["components"][task["componentRef"]["name"]].get("executorLabel")):
            retry, attempt = task["retryPolicy"], STAGES[stage].resources.timeout_seconds
            assert int(retry["backoffMaxDuration"][:-1]) > (retry["maxRetryCount"] + 1) * attempt, name
    longest = {
        task["retryPolicy"]["backoffMaxDuration"] for _, _, task in tasks_of(documents("vertex")[0]) if "retryPolicy" in task
    }
    assert longest == {"3600s"}, "Vertex allows no more"


def test_only_stages_that_reach_a_hub_get_its_token():
    given = {
        stages()[name]
        for name, config in executors_on_kubernetes().items()
        if any(pair["envVar"] == "HF_TOKEN" for secret in config["secretAsEnv"] for pair in secret["keyToEnv"])
    }
    assert given == {"prepare_data", "train_lora", "analyze_patterns"}, "evaluate_slm runs code that a model wrote"


def test_what_is_committed_can_run_nowhere():
    for target in ("kubernetes", "vertex"):
        images = {e["container"]["image"] for e in documents(target)[0]["deploymentSpec"]["executors"].values()}
        assert images == {image(stage) for stage in STAGES}
        assert {name.split("/")[0] for name in images} == {"registry.invalid"}, "RFC 2606: nobody can own it"


def test_components_of_another_registry(tmp_path):
    written = write_components(tmp_path, read_placement(registry="registry.example/team", tag="7"))
    assert {file.parent.name for file in written} == set(STAGES)
    for file in written:
        (executor,) = documents_of(file.read_text())[0]["deploymentSpec"]["executors"].values()
        assert executor["container"]["image"] == image(file.parent.name, "registry.example/team", "7")


def test_tasks_that_are_equal_share_one_component():
    for target in ("kubernetes", "vertex"):
        spec = documents(target)[0]
        # Four stages have one; evaluation has it by model, update_state by step, generation and control by attempt.
        assert Counter(stages(target).values()) == {
            **dict.fromkeys(("prepare_data", "train_lora", "analyze_patterns", "publish_result"), 1),
            "evaluate_slm": 3,
            **dict.fromkeys(("update_state", "generate_data", "control_quality"), 4),
        }
        assert len([c for c in spec["components"].values() if "executorLabel" in c]) == 19
        assert len([c for c in spec["components"].values() if "dag" in c]) == 12, "step-matched once"


def test_the_step_matched_model_has_its_place():
    names = [task["taskInfo"]["name"] for _, _, task in tasks_of(small_of(Kubernetes())[0])]
    assert "train-1" in names and "train-step-matched" in names


def test_the_sdk_of_each_target_takes_its_package():
    for document, message in zip(documents("kubernetes"), ("PipelineSpec", "PlatformSpec"), strict=True):
        json_format.ParseDict(document, getattr(pipeline_spec_pb2, message)())
    assert len(documents("vertex")) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "argo"], "--target argo: it must be kubernetes or vertex"),
        (["--target", "kubernetes"], "--registry: missing; say where `make push` put the images"),
        (
            ["--target", "kubernetes", "--registry", "team"],
            "--registry: without a host Docker takes a stranger's images",
        ),
        (["--target", "kubernetes", "--placement", "nowhere.yaml"], "nowhere.yaml: cannot be read (No such file or directory)"),
        (["--target", "vertex", "--registry", "registry.example", "--output", "package.json"], "ends in .yaml"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(options, message, tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "pada_agent.pipelines.cli", "compile", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1 and message in found.stderr and found.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_package_whose_runs_outgrow_kubeflow_is_written_with_a_word_about_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pada_agent.pipelines.kubeflow.compile.MANY_TASKS", 16)
    write_package(SMALL, Kubernetes(), tmp_path / "short.yaml")
    assert not capsys.readouterr().err
    monkeypatch.setattr("pada_agent.pipelines.kubeflow.compile.MANY_TASKS", 15)
    write_package(SMALL, Kubernetes(), tmp_path / "long.yaml")
    said = capsys.readouterr().err
    assert "up to 16 tasks; after about 15 Kubeflow's own retry of a failed run ends" in said and "--rerun" in said
    check_package((tmp_path / "long.yaml").read_text(), "kubernetes")
    write_package(SMALL, Vertex(), tmp_path / "vertex.yaml")
    assert not capsys.readouterr().err, "Vertex AI keeps its runs elsewhere"


def test_a_package_for_the_other_target_is_refused():
    with pytest.raises(InputError, match="2 YAML documents where vertex takes 1"):
        check_package(package_file("kubernetes").read_text(), "vertex")
