"""The shipped placements, compiled: what each task's pod would be asked to have."""

from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
from cluster_cases import write_config
from kubernetes.utils.quantity import parse_quantity

from pada_agent.components.core.errors import InputError
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.kubeflow.compile import compile_loop
from pada_agent.pipelines.kubeflow.kubernetes_names import LONGEST_LABEL
from pada_agent.pipelines.kubeflow.package import documents_of, package_file, read_package, stage_of, tasks_of
from pada_agent.pipelines.kubeflow.package_check import check_package
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Vertex
from pada_agent.pipelines.kubeflow.placement_file import Placement, read_placement
from pada_agent.pipelines.kubeflow.run_order import check_settings

FOLDER = package_file("kubernetes").parents[1] / "placements"
SHIPPED = sorted(file.stem for file in FOLDER.glob("*.yaml"))


@cache
def compiled(name):
    """Containers and what only Kubernetes has, both by stage, and the whole spec."""
    text = compile_loop(Shape(2, 1, True), Kubernetes(read_placement(FOLDER / f"{name}.yaml")))
    spec = check_package(text, "kubernetes")
    executors = documents_of(text)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    label = {stage_of(executor["container"]): name for name, executor in spec["deploymentSpec"]["executors"].items()}
    containers = {stage: spec["deploymentSpec"]["executors"][label[stage]]["container"] for stage in STAGES}
    return containers, {stage: executors[label[stage]] for stage in STAGES}, spec


def amounts(container, kind):
    return [parse_quantity(container["resources"][f"resource{what}{kind}"]) for what in ("Cpu", "Memory")]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_placement_compiles(name):
    containers, pods, _ = compiled(name)
    for stage, container in containers.items():
        assert all(a <= b for a, b in zip(amounts(container, "Request"), amounts(container, "Limit"), strict=True)), stage
        assert "registry.invalid" not in container["image"]
    for pod in pods.values():
        assert all(len(value) <= LONGEST_LABEL for value in pod["podMetadata"]["labels"].values())


def test_on_gke_an_l4_is_asked_for_as_text_and_by_name():
    containers, pods, _ = compiled("gke_l4")
    assert {stage for stage, c in containers.items() if "accelerator" in c["resources"]} == {"train_lora", "evaluate_slm"}
    for stage in ("train_lora", "evaluate_slm"):
        accelerator = containers[stage]["resources"]["accelerator"]
        assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "1")
        assert pods[stage]["nodeSelector"]["labels"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
        assert [t["key"] for t in pods[stage]["tolerations"]] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]
        assert [v["constant"] for v in pods[stage]["pvcMount"]] == ["pada-agent-models"]
    assert "nodeSelector" not in pods["generate_data"] and "pvcMount" not in pods["generate_data"]


def test_on_a_cluster_of_its_own_every_wish_arrives():
    containers, pods, spec = compiled("own_a100")
    train, analyze = pods["train_lora"], pods["analyze_patterns"]
    required, preferred = train["nodeAffinity"]
    both = ["nvidia.com/gpu.product", "nvidia.com/mig.capable"]
    assert [e["key"] for e in required["matchExpressions"]] == both, "in one term: of several Kubernetes asks for any one"
    assert "weight" not in required
    assert preferred["weight"] == 50
    assert {"key": "team", "operator": "Equal", "value": "nlp", "effect": "NoSchedule"} in train["tolerations"]
    assert {m["constant"]: m["mountPath"] for m in analyze["pvcMount"]} == {"nlp-models": "/models", "nlp-data": "/data"}
    assert {m["constant"] for m in train["pvcMount"]} == {"nlp-models"}
    environment = {e["name"]: e["value"] for e in containers["train_lora"]["env"]}
    assert environment == {"HF_HOME": "/models/huggingface", "PADA_MODELS": "/models"}
    for stage, pod in pods.items():
        assert pod["imagePullPolicy"] == "IfNotPresent"
        assert [s["secretName"] for s in pod["imagePullSecret"]] == ["registry-nlp"]
        assert pod["podMetadata"]["labels"] == {
            "team": "nlp",
            "cost-centre": "4711",
            "pada-agent/stage": stage.replace("_", "-"),
            "pada-agent/egress": "llm" if STAGES[stage].llm else "storage",
        }
        assert pod["podMetadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert {s["secretName"] for s in pod["secretAsEnv"]} <= {"nlp-llm", "nlp-storage", "nlp-hub"}
    assert pods["evaluate_slm"]["activeDeadlineSeconds"] == str(4 * 3600)
    retries = {t["taskInfo"]["name"]: t["retryPolicy"]["maxRetryCount"] for _, _, t in tasks_of(spec) if "retryPolicy" in t}
    assert (retries["train-1"], retries["evaluate-1"], retries["analyze-1"]) == (5, 5, 3)


def test_a_config_may_name_what_the_placement_mounts(tmp_path):
    file = tmp_path / "loop.yaml"
    file.write_text(compile_loop(Shape(3, 1), Kubernetes(read_placement(FOLDER / "own_a100.yaml"))))
    package = read_package(file, "kubernetes")
    rows = dict.fromkeys(("train", "validation", "test"), "/data/rows.jsonl")
    changes = {"task": rows, "slm": {"model": "/models/slm"}}
    check_settings(package, read_config(write_config(tmp_path / "config.yaml", changes)))
    elsewhere = read_config(write_config(tmp_path / "config.yaml", {**changes, "slm": {"model": "/data/slm"}}))
    with pytest.raises(InputError, match=r"slm\.model: /data/slm is on no volume that train_lora has"):
        check_settings(package, elsewhere)


def test_the_account_of_a_run_travels_in_the_package(tmp_path):
    for account in ("", "nlp-runner"):
        file = tmp_path / "loop.yaml"
        file.write_text(compile_loop(Shape(1, 1), Kubernetes(Placement(service_account=account))))
        assert read_package(file, "kubernetes").service_account == account


def test_on_one_node_what_runs_at_once_fits():
    containers, pods, spec = compiled("one_node")
    assert not any("accelerator" in c["resources"] or "tolerations" in pods[s] for s, c in containers.items())
    for together in at_once(spec):
        for kind in ("Request", "Limit"):
            cpu, memory = (sum(amounts(containers[stage], kind)[i] for stage in together) for i in (0, 1))
            assert cpu <= 2 and memory <= parse_quantity("8Gi"), together


def test_a_cell_of_a_study_gets_what_training_and_whatever_reads_rows_get():
    placed = {name: read_placement(FOLDER / f"{name}.yaml") for name in SHIPPED}
    for placement in placed.values():
        cell, training, rows = (placement.of(stage) for stage in ("study_cell", "train_lora", "prepare_data"))
        assert (cell.gpu, cell.node_selector, cell.affinity) == (training.gpu, training.node_selector, training.affinity)
        assert (cell.tolerations, cell.memory) == (training.tolerations, training.memory)
        assert cell.volumes == {**training.volumes, **rows.volumes}
    assert placed["own_a100"].of("study_cell").volumes and placed["gke_l4"].of("study_cell").node_selector


def at_once(spec):
    """Stages that may run side by side: single ones, and pairs of tasks of one DAG of which neither waits for the other."""
    for dag in [spec["root"], *spec["components"].values()]:
        tasks = dag.get("dag", {}).get("tasks", {})
        before = {}
        for _ in tasks:
            for name, task in tasks.items():
                needed = task.get("dependentTasks", [])
                before[name] = {*needed, *(far for near in needed for far in before.get(near, ()))}
        stage = {name: task["componentRef"]["name"].removeprefix("comp-").replace("-", "_") for name, task in tasks.items()}
        run = [name for name in tasks if stage[name] in STAGES]
        groups = [(name,) for name in run]
        for size in range(2, len(run) + 1):
            wider = [
                g for g in combinations(run, size) if not any(a in before[b] or b in before[a] for a, b in combinations(g, 2))
            ]
            if not wider:
                break
            groups += wider
        yield from ([stage[name] for name in group] for group in groups)


def test_a_digest_is_what_the_tasks_run():
    digests = dict.fromkeys(("agents", "analysis", "slm", "study"), f"sha256:{'0a' * 32}")
    placement = Placement.model_validate({"images": {"registry": "registry.example", "digests": digests}})
    for place, target in ((Kubernetes(placement), "kubernetes"), (Vertex(placement), "vertex")):
        spec = check_package(compile_loop(Shape(1, 1), place), target)
        images = {e["container"]["image"] for e in spec["deploymentSpec"]["executors"].values()}
        assert images == {f"registry.example/pada-agent/{role}@{digest}" for role, digest in digests.items() if role != "study"}


def test_a_file_says_what_vertex_trains_on_unless_a_run_does():
    placement = Placement.model_validate(
        {
            "vertex": {"accelerator_type": "NVIDIA_A100_80GB", "accelerator_count": 2, "cpu_limit": 12},
            "roles": {"agents": {"memory": {"limit": "3Gi"}}},
        }
    )
    spec = check_package(compile_loop(Shape(1, 1), Vertex(placement)), "vertex")
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    defaults = [parameters[f"accelerator_{name}"]["defaultValue"] for name in ("type", "count")]
    assert defaults == ["NVIDIA_A100_80GB", "2"] and parameters["cpu_limit"]["defaultValue"] == "12"
    assert spec["deploymentSpec"]["executors"]["exec-generate-data"]["container"]["resources"]["resourceMemoryLimit"] == "3G"


@cache
def on_four_gpus():
    """The text of a package whose training has four GPUs."""
    placement = Placement.model_validate({"stages": {"train_lora": {"gpu": {"count": 4}}}})
    return compile_loop(Shape(1, 1), Kubernetes(placement))


def test_several_gpus_get_a_process_each_and_one_gets_no_launcher():
    containers = [e["container"] for e in documents_of(on_four_gpus())[0]["deploymentSpec"]["executors"].values()]
    [training] = [c for c in containers if stage_of(c) == "train_lora"]
    assert training["command"][:3] == ["python", "-m", "accelerate.commands.launch"]
    assert training["command"][-4:] == ["--num_processes", "4", "-m", "pada_agent.components.train_lora"]
    assert training["resources"]["accelerator"]["resourceCount"] == "4"
    others = [c["command"] for c in containers if c is not training] + [compiled("gke_l4")[0]["train_lora"]["command"]]
    assert not [command for command in others if command[:2] != ["python", "-m"] or len(command) != 3]
    check_package(on_four_gpus(), "kubernetes")


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (
            ("components.train_lora", "components.evaluate_slm"),
            "evaluate_slm is started 4 times, and they would not share its work",
        ),
        (("--multi_gpu", "--multi-gpu"), "its command is .*, not python -m"),
    ],
)
def test_a_launcher_of_something_else_is_refused(instead, said):
    with pytest.raises(InputError, match=said):
        check_package(on_four_gpus().replace(*instead), "kubernetes")


def test_what_a_config_asks_of_the_student_is_checked_against_the_package(tmp_path):
    file = tmp_path / "loop.yaml"
    file.write_text(on_four_gpus())
    package = read_package(file, "kubernetes")
    rows = dict.fromkeys(("train", "validation", "test"), "gs://data/rows.jsonl")

    def check(**changes):
        whole = {"task": rows, "loop": {"iterations": 1}, **changes}
        check_settings(package, read_config(write_config(tmp_path / "config.yaml", whole)))

    check(train={"micro_batch": 2, "accumulate": 2})
    with pytest.raises(InputError, match=r"3 x 3 rows a step, which 4 processes, one for each GPU, cannot share equally"):
        check(train={"micro_batch": 3, "accumulate": 3})
    with pytest.raises(InputError, match=r"slm\.endpoint: evaluate_slm runs code that a model wrote"):
        check(slm={"model": "a/b", "endpoint": {"model": "m", "base_url": "https://slm.example/v1"}})


def test_the_readme_of_the_room_names_every_file():
    text = (Path(FOLDER) / "README.md").read_text()
    assert all(f"{name}.yaml" in text for name in SHIPPED)
