"""A package in which an LLM scores answers: its own tasks and keys, and settings that fit it."""

import advice_rows
import pytest
from cluster_cases import write_config

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.kubeflow.compile import with_keys, write_package
from pada_agent.pipelines.kubeflow.package import KUBERNETES, VERTEX, read_package, stage_of
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Vertex
from pada_agent.pipelines.kubeflow.placement_file import read_placement
from pada_agent.pipelines.kubeflow.run_order import check_settings

ONE = {"loop": {"iterations": 1}}
THIRD = {"model": "third", "base_url": "https://llm.example/v1", "api_key_env": "SCORER_API_KEY"}


@pytest.fixture(scope="module")
def scoring(tmp_path_factory):
    """The package of each target."""
    folder, placement = tmp_path_factory.mktemp("scoring"), read_placement(registry="registry.example/team")
    places = {KUBERNETES: Kubernetes(placement), VERTEX: Vertex(placement)}
    for target, place in places.items():
        write_package(Shape(1, 1, True), place, folder / f"{target}.yaml")
    return {target: read_package(folder / f"{target}.yaml", target) for target in places}


def judged(folder, **scorer):
    """Settings of a cluster's run whose answers an LLM scores."""
    settings = read_config(write_config(folder / "config.yaml", ONE))
    task = settings.task.model_dump() | {"name": "custom", "options": advice_rows.options()}
    control = settings.control.model_dump() | {"solve": "off"}
    return Settings.model_validate(settings.model_dump() | {"task": task, "scorer": {**THIRD, **scorer}, "control": control})


def keys(package, stage):
    """By variable that the pod of a stage gets from the secret of LLMs, whether it may be missing."""
    return {
        key["envVar"]: bool(secret.get("optional"))
        for secret in package.pod(stage)["secretAsEnv"]
        for key in secret["keyToEnv"]
        if key["envVar"].endswith("_API_KEY")
    }


def test_score_answers_gets_the_keys_it_may_need_in_the_agents_image_and_reaches_llms(scoring):
    package = scoring[KUBERNETES]
    assert keys(package, "score_answers") == dict.fromkeys(("SCORER_API_KEY", "JUDGE_API_KEY", "TEACHER_API_KEY"), True)
    assert keys(package, "evaluate_slm") == {}, "it runs code that a model wrote"
    assert package.pod("score_answers")["podMetadata"]["labels"]["pada-agent/egress"] == "llm"
    for of in scoring.values():
        containers = [e["container"] for e in of.spec["deploymentSpec"]["executors"].values()]
        images = {c["image"] for c in containers if stage_of(c) == "score_answers"}
        assert images == {c["image"] for c in containers if stage_of(c) == "generate_data"}
        assert of.scores_answers and {"grade-vanilla", "grade-1"} <= set(of.task_names.values())


def test_settings_and_package_must_both_say_so(scoring, packages, tmp_path):
    settings = judged(tmp_path)
    check_settings(scoring[KUBERNETES], settings)
    with pytest.raises(InputError, match=r"is judge, but .* has no task in which an LLM scores answers; `pada compile"):
        check_settings(read_package(packages[KUBERNETES], KUBERNETES), settings)
    plain = read_config(write_config(tmp_path / "plain.yaml", ONE))
    check_settings(read_package(packages[KUBERNETES], KUBERNETES), plain)
    with pytest.raises(InputError, match=r"is not judge, but an LLM is to score answers in .*without --score-answers"):
        check_settings(scoring[KUBERNETES], plain)


def test_the_scorer_s_endpoint_and_key_are_looked_at_too(scoring, tmp_path):
    for scorer, said in (
        ({"api_key_env": "MY_KEY"}, r"^scorer.api_key_env: score_answers gets JUDGE_API_KEY, SCORER_API_KEY, TEACHER_API_KEY"),
        ({"base_url": "http://127.0.0.1:8000/v1"}, r"^scorer.base_url: http://127.0.0.1:8000/v1 is this machine"),
        ({"base_url": "embedded"}, r"^scorer.base_url: there is no embedded server on a cluster"),
    ):
        with pytest.raises(InputError, match=said):
            check_settings(scoring[KUBERNETES], judged(tmp_path, **scorer))
    secret = {"api_key_secret": "projects/p/secrets/s/versions/latest"}
    with pytest.raises(InputError, match=r"^scorer.api_key_secret: missing; Vertex gives its tasks no secrets"):
        on_vertex = judged(tmp_path)
        others = {r: {**getattr(on_vertex, r).model_dump(), **secret, "base_url": ""} for r in ("teacher", "judge")}
        task = {name: v.replace("s3://", "gs://") if isinstance(v, str) else v for name, v in on_vertex.task.model_dump().items()}
        slm = {"model": "some/slm"}
        check_settings(scoring[VERTEX], Settings.model_validate(on_vertex.model_dump() | others | {"task": task, "slm": slm}))


def test_in_a_study_each_role_has_the_key_of_its_name(tmp_path):
    place, settings = Kubernetes(), judged(tmp_path, api_key_env="ANY")
    assert with_keys(place, settings).scorer.api_key_env == "SCORER_API_KEY"
    named = Settings.model_validate(settings.model_dump() | {"scorer": "judge"})
    assert with_keys(place, named).scorer.api_key_env == "JUDGE_API_KEY"
