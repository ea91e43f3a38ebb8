"""What a placement file may say, and what is said about one that is wrong."""

import textwrap

import pytest
import yaml

from pada_agent.components.core.errors import InputError
from pada_agent.components.images import TAG
from pada_agent.components.stages import IMAGES, STAGES
from pada_agent.pipelines.kubeflow.placement_file import Placement, read_placement

DIGESTS = {role: f"sha256:{number * 64}" for role, number in zip(IMAGES, "abcd", strict=True)}


@pytest.fixture
def written(tmp_path):
    """Writes a placement file from text; returns its path."""

    def write(text):
        file = tmp_path / "placement.yaml"
        file.write_text(textwrap.dedent(text))
        return file

    return write


@pytest.fixture
def pushed(tmp_path):
    file = tmp_path / "digests.yaml"
    file.write_text(yaml.safe_dump({"registry": "registry.example/pushed", "digests": DIGESTS}))
    return file


def complaint(*given, **more):
    with pytest.raises(InputError) as caught:
        read_placement(*given, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


WRONG = [
    ("nodeselector: {}", "line 2: unknown key 'nodeselector'"),
    ("roles: {slm: {gpus: 1}}", "line 2: unknown key 'roles.slm.gpus' (did you mean 'roles.slm.gpu'?)"),
    ("roles:\n  slm:\n    priority_class: high", "line 4: unknown key 'roles.slm.priority_class'"),
    ("roles: {gpu: {}}", "there is none of this name; there are agents, analysis, slm, study"),
    ("stages: {train: {}}", "there is none of this name; there are prepare_data, train_lora"),
    ("images: {registry: team}", "line 2: images.registry: without a host Docker takes a stranger's images"),
    ("images: {registry: registry.example/Team}", "not a registry"),
    ("images: {digests: {slm: sha256:12}}", "images.digests.slm: give sha256: and 64 digits"),
    (f"images: {{digests: {{slm: {DIGESTS['slm']}}}}}", "digests: give those of agents, analysis, slm, study, or none"),
    ("images: {pull_policy: Sometimes}", "images.pull_policy: "),
    ("images: {pull_secrets: [My_Key]}", "images.pull_secrets.0: not a name that Kubernetes takes"),
    ("service_account: -x", "service_account"),
    ("secrets: {llm: 'a b'}", "secrets.llm: not a name"),
    ("model_cache: my.models", "model_cache"),
    ("all: {cpu: {limit: 2 cores}}", "all.cpu.limit: give 2, 0.5 or 500m (it is '2 cores')"),
    ("all: {memory: {limit: 2GB}}", "all.memory.limit: give 16Gi or 16G"),
    ("all:\n  cpu: {limit: 500m}", "cpu of prepare_data: the request 2 is above the limit 500m"),
    ("stages: {train_lora: {memory: {request: 40Gi}}}", "memory of train_lora: the request 40Gi is above the limit 32Gi"),
    ("all: {gpu: {count: 0}}", "all.gpu.count: "),
    ("all: {timeout: 90}", "all.timeout: Input should be a valid string (it is 90)"),
    ("all: {timeout: 90 min}", "all.timeout: give 90s, 30m, 6h or 2d"),
    ("all: {retry: {count: 99}}", "all.retry.count: "),
    ("all: {labels: {'-a': b}}", "not a key that Kubernetes takes"),
    ("all: {labels: {a: 'b c'}}", "all.labels.a: not a label's value"),
    (f"all: {{labels: {{a: {'b' * 64}}}}}", "all.labels.a: not a label's value: letters, digits, -, _ and ., at most 63"),
    ("all: {labels: {pada-agent/egress: llm}}", "all.labels: 'pada-agent/egress' is set by this project"),
    (f"all: {{annotations: {{a: {'b' * 262144}}}}}", "all.annotations: Kubernetes takes 262144 bytes"),
    ("all: {node_selector: {a/b/c: d}}", "not a key that Kubernetes takes"),
    ("all: {volumes: {data: data}}", "all.volumes.data: give an absolute path"),
    ("all: {volumes: {data: /gcs/data}}", "all.volumes.data: /gcs is in use"),
    ("all: {volumes: {a: /data, b: /data/}}", "volumes of prepare_data: two at one path"),
    ("{model_cache: m, all: {volumes: {m: /data}}}", "volumes of prepare_data: 'm' is the model cache"),
    ("all: {volumes: {shared-memory: /data}}", "KFP takes claims with"),
    ("all: {tolerations: [{operator: Exists, key: a, value: b}]}", "takes no value"),
    ("all: {tolerations: [{value: b}]}", "without a key needs the operator Exists"),
    ("all: {tolerations: [{key: a, seconds: 5}]}", "need the effect NoExecute"),
    ("all: {affinity: {required: [{key: a, operator: In}]}}", "operator In of a takes values"),
    ("all: {affinity: {required: [{key: a, operator: Exists, values: [b]}]}}", "operator Exists of a takes no values"),
    ("all: {affinity: {required: [{key: a, operator: Gt, values: [1, 2]}]}}", "operator Gt of a takes one value"),
    ("all: {affinity: {preferred: [{key: a, operator: Exists, weight: 101}]}}", "all.affinity.preferred.0.weight: "),
    ("vertex: {accelerator_count: none}", "vertex.accelerator_count: give a number from 1 on"),
    ("all: {labels: {a: b, a: c}}", "line 2: not valid YAML (key 'a' is given twice)"),
    ("- a", "expected sections such as images, roles, stages; found list"),
]


@pytest.mark.parametrize("text, said", WRONG)
def test_what_is_wrong_is_one_line(written, text, said):
    file = written(f"# a comment\n{text}")
    assert said in (told := complaint(file))
    assert told.startswith(str(file))


def test_a_file_that_is_not_there(tmp_path):
    assert "cannot be read (No such file or directory); give the path of a YAML file with --placement" in complaint(
        tmp_path / "none.yaml"
    )


def test_without_a_file_tasks_get_what_the_table_of_stages_says():
    for name, stage in STAGES.items():
        task = Placement().of(name)
        assert (task.cpu.request, task.cpu.limit) == stage.resources.cpu
        assert (task.memory.request, task.memory.limit) == stage.resources.memory
        assert task.timeout_seconds == stage.resources.timeout_seconds
        assert bool(task.gpu) == stage.resources.gpu
        assert task.backoff == (stage.retry.count, f"{stage.retry.backoff_seconds}s", stage.retry.factor)


def test_the_nearest_layer_wins_key_by_key(written):
    placement = read_placement(
        written(
            """
            all:
              cpu: {request: 0.5}
              labels: {team: nlp, tier: low}
              tolerations: [{key: a, operator: Exists}]
              retry: {count: 1}
            roles:
              slm: {labels: {tier: high}, tolerations: [{key: b, operator: Exists}], gpu: null}
            stages:
              train_lora: {cpu: {limit: 16}, gpu: {resource: amd.com/gpu, count: 2}, timeout: 2d, volumes: {scratch: /scratch}}
            """
        )
    )
    train, evaluate, agent = (placement.of(stage) for stage in ("train_lora", "evaluate_slm", "generate_data"))
    assert (train.cpu.request, train.cpu.limit, evaluate.cpu.limit) == ("0.5", "16", "8")
    assert train.labels == evaluate.labels == {"team": "nlp", "tier": "high"} and agent.labels["tier"] == "low"
    assert [t.key for t in train.tolerations] == ["b"] and [t.key for t in agent.tolerations] == ["a"]
    assert (train.gpu.resource, train.gpu.count, evaluate.gpu) == ("amd.com/gpu", 2, None)
    assert (train.timeout_seconds, evaluate.timeout_seconds) == (2 * 86400, 86400)
    assert train.backoff == (1, "60s", 2.0)
    assert train.volumes == {"scratch": "/scratch"} and not evaluate.volumes


def test_each_operator_takes_its_values(written):
    operators = {"In": "[a, b]", "NotIn": "[a]", "Exists": "[]", "DoesNotExist": "[]", "Gt": "[3]", "Lt": "['3']"}
    terms = ", ".join(f"{{key: a, operator: {name}, values: {values}}}" for name, values in operators.items())
    affinity = read_placement(written(f"all: {{affinity: {{required: [{terms}]}}}}")).of("train_lora").affinity
    assert [expression.values for expression in affinity.required] == [("a", "b"), ("a",), (), (), ("3",), ("3",)]


def test_an_empty_key_says_nothing(written):
    task = read_placement(written("all: {timeout: , cpu: {limit: }, retry: {count: }}")).of("train_lora")
    assert (task.timeout_seconds, task.cpu.limit, task.backoff[0]) == (86400, "8", 3)


def test_numbers_and_truth_values_of_yaml_are_text_to_kubernetes(written):
    file = written(
        """
        all:
          labels: {build: 7, spot: true}
          node_selector: {generation: 3}
          annotations: {keep: no}
          tolerations: [{key: spot, value: true}]
        """
    )
    task = read_placement(file).of("prepare_data")
    assert (task.labels, task.node_selector) == ({"build": "7", "spot": "true"}, {"generation": "3"})
    assert task.annotations == {"keep": "false"} and task.tolerations[0].value == "true"


def test_retries_have_room_for_every_attempt_and_every_pause():
    task = Placement.model_validate({"all": {"timeout": "1h", "retry": {"count": 2, "backoff": "1m", "factor": 3}}}).of(
        "train_lora"
    )
    assert task.longest == 3 * (3600 + 86400) + 60 + 180


def test_images_of_a_push_pin_the_package(written, pushed):
    file = written("images: {registry: registry.example/old, pull_secrets: [key]}")
    assert read_placement(file).images.of("train_lora") == f"registry.example/old/pada-agent/slm:{TAG}"
    images = read_placement(file, pushed).images
    assert images.of("train_lora") == f"registry.example/pushed/pada-agent/slm@{DIGESTS['slm']}"
    assert images.pull_secrets == ("key",)
    assert (
        read_placement(file, registry="localhost:5000/", tag="9").images.of("update_state")
        == "localhost:5000/pada-agent/agents:9"
    )


def test_an_option_does_not_contradict_digests(written, pushed):
    assert "leave out --registry and --tag, or --images" in complaint(images=pushed, registry="registry.example")
    pinned = written(yaml.safe_dump({"images": yaml.safe_load(pushed.read_text())}))
    assert read_placement(pinned).images.of("update_state").endswith(f"/agents@{DIGESTS['agents']}")
    assert "are of other images" in complaint(pinned, tag="9")
    assert complaint(tag="a/b").startswith("--tag: ")
