"""Registering with the real client against a server that takes what the client's OpenAPI models take, and nothing else."""

from dataclasses import replace

import finished_runs
import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.gather import gather
from pada_agent.pipelines.kubeflow.handover.model_registry import Registry, properties, register

mr_openapi = pytest.importorskip("mr_openapi", reason="the client of Model Registry is missing: pip install -e '.[registry]'")

API = "/api/model_registry/v1"
FOLDER = "iteration-1-5b1f03c7a9d4"
URI = f"gs://shop/adapter/{FOLDER}"
NONE = {"code": "404", "message": "no registered model found"}
MODEL = {"id": "1", "name": "sql", "state": "LIVE"}
VERSION = {"id": "2", "name": FOLDER, "registeredModelId": "1", "state": "LIVE"}
ARTIFACT = {"id": "3", "name": FOLDER, "artifactType": "model-artifact", "uri": URI}


@pytest.fixture
def server(http_stub):
    """A registry that finds what the test put `there`."""

    def there(**found):
        for what in ("registered_model", "model_version", "model_artifact"):
            answer = found.get(what)
            http_stub.on("GET", f"{API}/{what}", answer or NONE, status=200 if answer else 404)
        http_stub.on("POST", f"{API}/registered_models", taken(mr_openapi.RegisteredModelCreate, MODEL), status=201)
        http_stub.on("POST", f"{API}/model_versions", taken(mr_openapi.ModelVersionCreate, VERSION), status=201)
        http_stub.on("POST", f"{API}/model_versions/2/artifacts", taken(mr_openapi.ModelArtifact, ARTIFACT), status=200)
        return http_stub

    return there


def taken(kind, answer):
    """A reply of what was asked for, if it is a `kind` and no field is lost."""

    def reply(ask):
        assert kind.from_dict(ask.json).to_dict() == ask.json
        return {**ask.json, **answer}

    return reply


def posted(server, path):
    (ask,) = server.asked("POST", f"{API}/{path}")
    return ask


def test_model_version_and_artifact(exported, server):
    server = server()
    said = register(exported, "sql", Registry(f"{server.url}/", token="t0k"))
    assert said == f"sql, version {FOLDER} (model 1, version 2)"
    model = posted(server, "registered_models")
    assert model.headers["authorization"] == "Bearer t0k"
    assert model.json["name"] == "sql"
    assert model.json["description"] == "org/slm, fine-tuned for text_to_sql"
    version = posted(server, "model_versions").json
    assert (version["name"], version["registeredModelId"]) == (FOLDER, "1")
    assert version["description"] == gather(exported.state).verdict.headline
    kept = version["customProperties"]
    assert kept["seed"] == {"int_value": "3", "metadataType": "MetadataIntValue"}
    assert kept["test_accuracy"] == {"double_value": 0.8, "metadataType": "MetadataDoubleValue"}
    assert kept["run_finished"] == {"bool_value": True, "metadataType": "MetadataBoolValue"}
    assert kept["data_train"] == {"string_value": "gs://data/train.jsonl", "metadataType": "MetadataStringValue"}
    assert {key: next(iter(value.values())) for key, value in kept.items() if "Int" not in value["metadataType"]} == {
        key: value for key, value in properties(exported).items() if type(value) is not int
    }
    artifact = posted(server, "model_versions/2/artifacts").json
    assert artifact["uri"] == URI
    assert (artifact["modelFormatName"], artifact["modelFormatVersion"]) == ("peft", "0.21.2")
    assert (artifact["modelSourceKind"], artifact["modelSourceClass"]) == ("kfp", "pipelinerun")
    assert (artifact["modelSourceId"], artifact["modelSourceName"]) == (finished_runs.RUN_ID, "improvement-loop")


def test_what_is_there_already_stays(exported, server):
    server = server(registered_model=MODEL, model_version=VERSION, model_artifact=ARTIFACT)
    register(exported, "sql", Registry(server.url))
    assert {ask.method for ask in server.asks} == {"GET"}
    (looked,) = server.asked("GET", f"{API}/model_version")
    assert looked.query == {"name": FOLDER, "parentResourceId": "1"}
    assert "authorization" not in looked.headers


def test_a_registration_that_broke_off_is_finished(exported, server):
    server = server(registered_model=MODEL, model_version=VERSION)
    register(exported, "sql", Registry(server.url))
    assert [ask.path for ask in server.asks if ask.method == "POST"] == [f"{API}/model_versions/2/artifacts"]


def test_the_same_version_of_another_place(exported, server):
    server = server(registered_model=MODEL, model_version=VERSION, model_artifact={**ARTIFACT, "uri": "gs://other/a"})
    with pytest.raises(InputError, match=rf"sql, version {FOLDER}: is registered at gs://other/a already; give another --name"):
        register(exported, "sql", Registry(server.url))


def test_a_registry_that_refuses_or_is_not_there(exported, http_stub):
    http_stub.on("GET", f"{API}/registered_model", {"code": "401", "message": "no token"}, status=401)
    with pytest.raises(
        InputError, match=r"127.0.0.1:\d+: the registry refused \(401: .*no token.*\); check the address, the token"
    ):
        register(exported, "sql", Registry(http_stub.url))
    for path, page in (("ui", "<html>Sign in</html>"), ("other", {"kind": "Other"})):
        http_stub.on("GET", f"/{path}{API}/registered_model", page)
        with pytest.raises(InputError, match=rf"/{path}: the registry refused .*release"):
            register(exported, "sql", Registry(f"{http_stub.url}/{path}"))
    http_stub.on("GET", f"/old{API}/registered_model", "404 page not found", status=404)
    http_stub.on("POST", f"/old{API}/registered_models", "404 page not found", status=404)
    with pytest.raises(InputError, match=r"/old: the registry refused \(404: .*page not found.*release"):
        register(exported, "sql", Registry(f"{http_stub.url}/old"))
    with pytest.raises(InputError, match=r"http://127.0.0.1:1: the registry cannot be reached"):
        register(exported, "sql", Registry("http://127.0.0.1:1"))
    with pytest.raises(InputError, match=r"--model-registry registry:8080: give the URL"):
        register(exported, "sql", Registry("registry:8080"))
    with pytest.raises(InputError, match=r"--ca-cert nowhere.pem: there is no such file"):
        register(exported, "sql", Registry("https://127.0.0.1:1", ca_cert="nowhere.pem"))


def test_metrics_have_their_intervals_and_the_lineage_leads_back(exported):
    kept = properties(exported)
    chosen = next(m for m in gather(exported.state).models if m.shipped)
    assert kept["test_accuracy"] == 0.8
    assert (kept["test_accuracy_low"], kept["test_accuracy_high"]) == (chosen.test.low, chosen.test.high)
    assert (kept["gain_over"], kept["gain"]) == ("step-matched", chosen.over_baseline.difference)
    assert (kept["gain_low"], kept["gain_high"]) == (chosen.over_baseline.low, chosen.over_baseline.high)
    assert (kept["gain_vanilla_over"], kept["gain_vanilla"]) == ("vanilla", pytest.approx(0.2))
    assert kept["adapter_of"] == finished_runs.KFP_ADAPTER
    assert kept["report"] == "gs://shop/adapter/report.html"
    assert (kept["data_test"], kept["data_test_sha256"]) == ("gs://data/test.jsonl", 64 * "b")
    assert (kept["pada_agent"], kept["base_model"], kept["teacher"]) == ("0.1.0", "org/slm", "big")


def test_without_step_matched_the_gain_is_over_vanilla_once(exported):
    models = [m for m in exported.state.models if m.kind != "step_matched"]
    kept = properties(replace(exported, state=exported.state.model_copy(update={"models": models})))
    assert kept["gain_over"] == "vanilla"
    assert not any(key.startswith("gain_vanilla") for key in kept)


def test_a_run_of_one_machine_has_no_source_in_kubeflow(exported, server):
    server = server()
    register(
        replace(exported, facts={**exported.facts, "adapter_uri": "/runs/a/06-train-1/adapter"}), "sql", Registry(server.url)
    )
    assert "modelSourceKind" not in posted(server, "model_versions/2/artifacts").json
