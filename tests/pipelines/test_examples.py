"""Single components in pipelines that are not ours: compiled, then followed with the real stages, the LLMs as a loopback stub."""

import json
from importlib import import_module

import pytest
import yaml
from kfp import compiler
from llm_stub import SOLVER
from package_runner import PackageRun
from teacher import WRITTEN, row, solution
from whole_run import EMBEDDING, model_or_skip

from pada_agent.components.backends.record_files import read_records
from pada_agent.components.core.records import Batch
from pada_agent.components.images import image
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.examples.augmentation import augmentation
from pada_agent.pipelines.examples.failure_patterns import failure_patterns
from pada_agent.pipelines.kubeflow.package import documents_of, tasks_of
from pada_agent.pipelines.kubeflow.placement import KEYS, STORAGE_KEYS, USER

ROWS = {"train": range(100, 112), "validation": range(200, 212), "test": range(300, 306)}


@pytest.fixture
def embedding():
    model_or_skip(EMBEDDING)


@pytest.fixture
def settings(tmp_path, llm_stub, embedding):
    for split, numbers in ROWS.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in numbers))
    llm = {"base_url": llm_stub.url, "concurrency": 1}
    return {
        "task": {"name": "gsm8k", **{split: str(tmp_path / f"{split}.jsonl") for split in ROWS}},
        "slm": {"model": "some/slm"},
        "teacher": {**llm, "model": "teacher"},
        "judge": {**llm, "model": "judge"},
        "generate": {"share": 0.5, "batch": 3, "regenerations": 1, "refills": 0},
        "analyze": {"k_max": 3},
        "loop": {"iterations": 1},
    }


@pytest.fixture
def samples(tmp_path):
    """What lm-eval's `--log_samples` leaves: nine wrong answers and three right ones, to the validation rows."""
    lines = []
    for i, n in enumerate(ROWS["validation"]):
        right = i % 4 == 0
        number = row(n)["answer"].rpartition(" ")[2] if right else "7"
        answer = {"doc_id": i, "doc": row(n), "target": row(n)["answer"], "filter": "strict-match", "metrics": ["exact_match"]}
        said = {"arguments": {"gen_args_0": {"arg_0": row(n)["question"]}}, "resps": [[f"#### {number}"]]}
        lines.append(json.dumps({**answer, **said, "filtered_resps": [number], "exact_match": float(right)}))
    file = tmp_path / "samples_gsm8k.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def teacher(llm_stub):
    llm_stub.on("You are a teacher who reads the mistakes", reply=analyse)
    llm_stub.on(
        "You find what a group of mistakes", reply={"category_name": "multiplying", "pattern": "Groups are not multiplied."}
    )
    llm_stub.on("You plan training data", reply={"strategy": "Write problems with equal groups and multiply them."})
    llm_stub.on("You write training examples", reply=write)
    llm_stub.on(SOLVER, reply=solution)
    llm_stub.on("You judge training examples", reply={"adherence": 8, "utility": 8, "relevance": 9, "feedback": []})
    return llm_stub


def analyse(ask):
    return {"difference": "A product.", "root_cause": f"Does not multiply, case {ask.number % 3}.", "scenario": "Equal groups."}


def write(ask):
    """As many problems as were asked for; the first of each reply has a wrong sum, which no check may let in."""
    made = []
    for i in range(ask.schema["properties"]["items"]["minItems"]):
        a, b = 1000 + 17 * ask.number + i, 3 + i
        result = a * b + (i == 0)
        step = f"{a} * {b} = {result}"
        question = WRITTEN[(3 * ask.number + i) % len(WRITTEN)].format(a=a, b=b)
        made.append({"question": question, "steps": [step], "answer": str(result)})
    return {"items": made}


def compiled(pipeline, tmp_path):
    """The documents of a pipeline."""
    file = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(file))
    return documents_of(file.read_text())


def follow(pipeline, tmp_path, **parameters):
    spec, _ = compiled(pipeline, tmp_path)

    def start(container):
        import_module(f"{container.command[-1]}.__main__").run(container.executor)
        return 0

    run = PackageRun(spec, tmp_path / "run", start)
    run.run(work_uri=str(tmp_path / "work"), data_version="1", **parameters)
    return run


@pytest.mark.parametrize("pipeline", [failure_patterns, augmentation], ids=lambda pipeline: pipeline.name)
def test_every_task_of_an_example_gets_what_it_needs_on_a_cluster(pipeline, tmp_path):
    spec, platform = compiled(pipeline, tmp_path)
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    containers = {name: e["container"] for name, e in spec["deploymentSpec"]["executors"].items() if "container" in e}
    assert len(containers) == {"failure-patterns": 2, "data-augmentation": 6}[pipeline.name]
    for name, container in containers.items():
        stage, pod = container["command"][-1].rpartition(".")[2], pods[name]
        assert container["image"] == image(stage, "registry.example/team")
        keys = {}
        for secret in pod["secretAsEnv"]:
            keys |= {pair["envVar"]: (secret["secretName"], secret.get("optional", False)) for pair in secret["keyToEnv"]}
        assert {keys.pop(key) for key in STORAGE_KEYS} == {("pada-agent-storage", True)}
        keys.pop("HF_TOKEN", None)
        roles = STAGES[stage].keys
        assert keys == {KEYS[role]: ("pada-agent-llm", False) for role in roles}, stage
        labels = {"pada-agent/stage": stage.replace("_", "-"), "pada-agent/egress": "llm" if roles else "storage"}
        assert pod["podMetadata"]["labels"] == labels, "else the network policies keep it from what it needs"
        assert {str(USER)} == {pod["securityContext"][key] for key in ("runAsUser", "runAsGroup")}
        assert container["resources"]["resourceMemoryLimit"]
    retried = [t["retryPolicy"] for _, name, t in tasks_of(spec) if not name.startswith("importer")]
    assert all(policy["maxRetryCount"] == 3 and int(policy["backoffMaxDuration"][:-1]) > 86400 for policy in retried)


def test_patterns_from_the_samples_of_another_evaluator(settings, samples, teacher, tmp_path):
    ran = follow(failure_patterns, tmp_path, settings=settings, samples_uri=str(samples))
    plan = ran.local(ran.tasks["analyze-patterns"].artifacts["plan"])
    strategies = yaml.safe_load((plan / "strategies.yaml").read_text())
    assert strategies and {s["text"] for s in strategies} == {"Write problems with equal groups and multiply them."}
    assert len([ask for ask in teacher.asks if "reads the mistakes" in ask.text]) == 9
    assert ran.tasks["analyze-patterns"].parameters["patterns"] == len(strategies)


def test_augmentation_without_training(settings, samples, teacher, tmp_path):
    ran = follow(augmentation, tmp_path, settings=settings, predictions_uri=str(samples))
    last = ran.tasks["control-quality-2"]
    batches = read_records(ran.local(last.artifacts["checked_batches"]) / "batches.jsonl", Batch)
    accepted = [sample for batch in batches for sample in batch.accepted]
    assert len(accepted) == last.parameters["accepted"] >= 3
    assert all(len(s.fields["answer"]) and "is not" not in s.fields["answer"] for s in accepted)
    rejected = [s.reason for b in batches for s in b.samples if s.status == "rejected"]
    assert any(" is not " in reason for reason in rejected), "a wrong product was let in"
    assert list((tmp_path / "work" / "ledger").iterdir())
