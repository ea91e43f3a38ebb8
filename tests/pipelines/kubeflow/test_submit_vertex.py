"""`pada submit --target vertex` with Google's own client, credentials included, against a loopback server."""

import json
import socket

import pytest
import yaml
from cluster_cases import ON_VERTEX, write_config

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.form import FIELDS
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.kubeflow import watch as run_watch
from pada_agent.pipelines.kubeflow.compile import write_package
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Vertex
from pada_agent.pipelines.kubeflow.placement_file import read_placement
from pada_agent.pipelines.kubeflow.submit import Project, Request, submit_to_vertex
from pada_agent.pipelines.kubeflow.watch import Patience

pytest.importorskip("google.cloud.aiplatform", reason="needs pip install 'pada-agent[vertex]'")

PLACE = "projects/proj-1/locations/us-central1"
JOBS = f"/v1/{PLACE}/pipelineJobs"
TOKEN = "ya29.token-of-a-test"
ACCOUNT = "runner@proj-1.iam.gserviceaccount.com"


@pytest.fixture(autouse=True)
def credentials(google_account, tmp_path, monkeypatch, http_stub):
    """Application default credentials whose tokens come from the stub; nothing of the machine's own is used."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", http_stub.url)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "CLOUD_ML_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(run_watch, "POLL_SECONDS", 0.01)
    return google_account


@pytest.fixture
def vertex(http_stub):
    """A Vertex that takes runs, and a bucket for artifacts."""
    http_stub.on("POST", "/token", {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
    http_stub.on("GET", "/storage/v1/b/artifacts", {"name": "artifacts"})
    http_stub.on(
        "POST", JOBS, lambda ask: {**_job("PENDING", ask.query["pipelineJobId"]), "displayName": ask.json["displayName"]}
    )
    return http_stub


@pytest.fixture
def submit(pada, packages, cluster_config, http_stub, tmp_path):
    """Call `pada submit` for the stub with the small package."""
    fine = write_config(tmp_path / "demo.yaml", ON_VERTEX)

    def call(*more, root="gs://artifacts/runs", location="us-central1", config=fine):
        where = [*(["--pipeline-root", root] if root else []), *(["--location", location] if location else [])]
        given = [
            "--config",
            config,
            "--package",
            packages["vertex"],
            "--api-endpoint",
            http_stub.url,
            "--work-uri",
            "gs://work/w",
        ]
        return pada("submit", "--target", "vertex", *given, *where, *more)

    call.config = fine
    return call


def _job(state, job_id="loop-1", **more):
    return {"name": f"{PLACE}/pipelineJobs/{job_id}", "state": f"PIPELINE_STATE_{state}", **more}


def test_everything_arrives(vertex, submit, packages):
    code, out, said = submit(
        *("--set", "rounds=2", "--set", "share=1", "--set", "dry=true", "--set", 'names=["a"]'),
        *("--job-id", "loop-7", "--labels", "team=nlp,cost=42", "--service-account", ACCOUNT, "--run-name", "first try"),
    )
    assert (code, said) == (0, "")
    link = "https://console.cloud.google.com/vertex-ai/locations/us-central1/pipelines/runs/loop-7?project=proj-1"
    assert out == f"run loop-7\n{link}\n"
    (ask,) = vertex.asked("POST", JOBS)
    assert ask.query["pipelineJobId"] == "loop-7"
    assert ask.headers["authorization"].startswith("Bearer eyJ")  # the account's own signature
    assert vertex.asked("GET", "/storage/v1/b/artifacts")[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert ask.json == {
        "displayName": "first try",
        "pipelineSpec": yaml.safe_load(packages["vertex"].read_text()),
        "labels": {"team": "nlp", "cost": "42"},
        "serviceAccount": ACCOUNT,
        "runtimeConfig": {
            "gcsOutputDirectory": "gs://artifacts/runs",
            "parameterValues": {
                "settings": read_config(submit.config).model_dump(mode="json", exclude_defaults=True),
                "work_uri": "gs://work/w",
                "rounds": 2,
                "share": 1.0,
                "dry": True,
                "names": ["a"],
            },
        },
    }


def test_a_compiled_package_is_taken(vertex, pada, submit, tmp_path):
    package = tmp_path / "loop.yaml"
    write_package(Shape(), Vertex(read_placement(registry="registry.example/team")), package)
    where = ["--api-endpoint", vertex.url, "--pipeline-root", "gs://artifacts/runs", "--location", "us-central1"]
    more = [
        "--work-uri",
        "gs://work/w",
        "--set",
        "accelerator_type=NVIDIA_TESLA_T4",
        "--set",
        "accelerator_count=2",
        "--set",
        "data_version=1",
    ]
    given = ["submit", "--target", "vertex", "--config", submit.config, *where, *more]
    code, _, said = pada(*given)
    assert code == 1 and "is in no registry of yours; write a package with `pada compile --target vertex" in said
    code, _, said = pada(*given, "--package", package)
    assert (code, said) == (0, "")
    (ask,) = vertex.asked("POST", JOBS)
    assert ask.json["pipelineSpec"]["pipelineInfo"]["name"] == "pada-agent-improvement-loop"
    values = ask.json["runtimeConfig"]["parameterValues"]
    assert (values["accelerator_type"], values["accelerator_count"]) == ("NVIDIA_TESLA_T4", "2")
    assert values.keys() - FIELDS.keys() == {"settings", "work_uri", "data_version", "accelerator_type", "accelerator_count"}
    asks = len(vertex.asks)
    code, out, _ = pada(*given, "--package", package, "--print-parameters")
    assert code == 0 and json.loads(out) == values
    assert len(vertex.asks) == asks, "printing asks nobody"


def test_defaults_of_a_run(vertex, submit):
    code, out, _ = submit()
    assert code == 0
    (ask,) = vertex.asked("POST", JOBS)
    assert "serviceAccount" not in ask.json
    assert ask.json["displayName"].startswith("demo 20")
    assert ask.query["pipelineJobId"].startswith("improvement-loop-20")
    assert f"run {ask.query['pipelineJobId']}\n" in out


def test_a_rerun_gets_an_id_of_its_own(vertex, submit):
    vertex.instead("GET", f"{JOBS}/mine", {"name": f"{JOBS.lstrip('/')}/mine", "state": "PIPELINE_STATE_FAILED"})
    vertex.instead("GET", f"{JOBS}/mine-1", {"name": f"{JOBS.lstrip('/')}/mine-1", "state": "PIPELINE_STATE_SUCCEEDED"})
    assert submit("--job-id", "mine", "--rerun", "2")[0] == 0
    assert [ask.query["pipelineJobId"] for ask in vertex.asked("POST", JOBS)] == ["mine", "mine-1"]


def test_caching_is_put_off_for_all_tasks(vertex, submit):
    assert submit()[0] == 0
    assert submit("--no-cache", "--job-id", "again")[0] == 0
    compiled, off = (_caching(ask.json["pipelineSpec"]) for ask in vertex.asked("POST", JOBS))
    assert {"enableCache": True} in compiled
    assert off == [{}] * 3


def _caching(spec):
    dags = [spec["root"], *spec["components"].values()]
    return [task.get("cachingOptions") for dag in dags for task in dag.get("dag", {}).get("tasks", {}).values()]


def test_waiting_for_success(vertex, submit):
    task = {"taskName": "analyze", "taskId": "1"}
    layer = {"taskName": "condition-1", "taskId": "2", "state": "RUNNING"}
    steps = iter(
        [
            _job("RUNNING", jobDetail={"taskDetails": [{**task, "state": "RUNNING"}, layer]}),
            _job("SUCCEEDED", jobDetail={"taskDetails": [{**task, "state": "SUCCEEDED"}]}),
        ]
    )
    vertex.on("GET", f"{JOBS}/loop-1", lambda ask: next(steps))
    code, out, said = submit("--wait", "--job-id", "loop-1")
    assert (code, said) == (0, "")
    changes = [line.split(" ", 1)[1] for line in out.splitlines()[2:-1]]
    assert changes == ["analyze: running", "run: running", "analyze: succeeded", "run: succeeded"]


def test_a_failed_run_says_which_task_and_why(vertex, submit):
    details = [
        {"taskName": "analyze", "taskId": "1", "state": "SUCCEEDED"},
        {"taskName": "control", "taskId": "2", "state": "FAILED", "error": {"code": 9, "message": "out of\nmemory"}},
        {"taskName": "condition-1", "taskId": "3", "state": "FAILED", "error": {"code": 9, "message": "The DAG failed"}},
    ]
    error = {"code": 9, "message": "The DAG failed"}
    vertex.on("GET", f"{JOBS}/loop-1", _job("FAILED", jobDetail={"taskDetails": details}, error=error))
    code, out, _ = submit("--wait", "--job-id", "loop-1")
    assert code == 1
    assert [line for line in out.splitlines() if "failed:" in line] == ["failed: control: out of memory"]
    assert out.splitlines()[-1] == "failed: control: out of memory"


def test_a_cancelled_run_is_no_success(vertex, submit):
    vertex.on("GET", f"{JOBS}/loop-1", _job("CANCELLED"))
    assert submit("--wait", "--job-id", "loop-1")[0] == 1


def test_waiting_bears_a_short_outage_and_no_refusal(vertex, submit, packages):
    where = Project("", "us-central1", "gs://artifacts/runs", job_id="loop-1", api_endpoint=vertex.url)
    request = Request(submit.config, packages["vertex"], {"work_uri": "gs://work/w"}, patience=Patience(poll=0.01, silence=30))
    vertex.on("GET", f"{JOBS}/loop-1", {"error": {"message": "try later"}}, status=503, times=2)
    vertex.on("GET", f"{JOBS}/loop-1", trouble="reset", times=2)
    vertex.on("GET", f"{JOBS}/loop-1", _job("SUCCEEDED"))
    assert submit_to_vertex(request, where, lambda line: None)
    vertex.instead("GET", f"{JOBS}/loop-1", {"error": {"message": "no"}}, status=403)
    with pytest.raises(InputError, match=r"stopped waiting: cannot look after the run: not allowed.*continues: https://console"):
        submit_to_vertex(request, where, lambda line: None)


REFUSALS = [
    (401, "Request had invalid authentication credentials.", "gcloud auth application-default login"),
    (403, "Permission 'aiplatform.pipelineJobs.create' denied", "ask for roles/aiplatform.user there"),
    (403, f"You do not have permission to act as service account: {ACCOUNT}", "roles/iam.serviceAccountUser"),
    (
        403,
        "Vertex AI API has not been used in project 1 before or it is disabled.",
        "gcloud services enable aiplatform.googleapis.com --project proj-1",
    ),
    (404, "Project not found", "there is no project proj-1 or location us-central1"),
    (409, "Job loop-1 already exists", "give another --job-id"),
    (429, "Quota exceeded for custom_model_training_nvidia_l4_gpus", "a quota of proj-1 is used up"),
    (400, "Invalid pipeline spec", "Vertex refuses the run (Invalid pipeline spec)"),
    (503, "The service is unavailable", "Vertex answers with 503"),
]


@pytest.mark.parametrize("status, message, expected", REFUSALS)
def test_a_refused_run(vertex, submit, status, message, expected):
    vertex.instead("POST", JOBS, {"error": {"code": status, "message": message}}, status=status)
    code, out, said = submit("--service-account", ACCOUNT)
    assert (code, out) == (1, "")
    assert said.count("\n") == 0 and said.startswith("pada: cannot start a run: ")
    assert expected in said and TOKEN not in said


def test_a_missing_bucket(vertex, submit):
    vertex.instead("GET", "/storage/v1/b/artifacts", {"error": {"message": "The specified bucket does not exist."}}, status=404)
    code, _, said = submit()
    assert code == 1
    assert "there is no bucket artifacts; gcloud storage buckets create gs://artifacts --project proj-1" in said
    assert not vertex.asked("POST", JOBS)


def test_a_bucket_that_may_not_be_looked_at_is_not_missing(vertex, submit):
    vertex.instead("GET", "/storage/v1/b/artifacts", {"error": {"message": "no storage.buckets.get"}}, status=403)
    assert submit()[0] == 0


def test_expired_credentials(http_stub, submit):
    http_stub.on(
        "POST", "/token", {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, status=400
    )
    code, _, said = submit()
    assert code == 1
    assert "the Google credentials have expired or are refused" in said
    assert said.endswith("; gcloud auth application-default login")
    assert said.count("\n") == 0


def test_no_credentials_at_all(submit, monkeypatch, credentials):
    monkeypatch.setenv("PATH", "")  # no gcloud
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    code, _, said = submit()
    assert code == 1
    assert said.startswith("pada: no Google credentials: ") and said.endswith("; gcloud auth application-default login")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials.with_name("none.json")))
    code, _, said = submit()
    assert code == 1
    assert "none.json (GOOGLE_APPLICATION_CREDENTIALS)" in said and said.count("\n") == 0
    credentials.write_text('{"type": "service_account", "private_key": "secret-words"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    code, _, said = submit()
    assert code == 1
    assert "no Google credentials" in said and "secret-words" not in said


def test_the_api_is_not_reachable(vertex, submit):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, _, said = submit("--api-endpoint", f"http://127.0.0.1:{port}")
    assert code == 1
    assert "cannot start a run: Google's API cannot be reached" in said


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"root": ""}, "--pipeline-root: missing; Vertex keeps artifacts in a bucket"),
        ({"root": "s3://b/x"}, "--pipeline-root: s3://b/x; Vertex keeps"),
        ({"location": ""}, "--location: missing"),
        ({"location": "mars-north1"}, "--location: "),
    ],
)
def test_where_to_run(http_stub, submit, given, expected):
    code, _, said = submit(**given)
    assert code == 1
    assert expected in said
    assert http_stub.asks == []


@pytest.mark.parametrize(
    "more, expected",
    [
        (["--labels", "Team=NLP"], "--labels: 'Team=NLP' is not a label"),
        (["--job-id", "7_loops"], "illegal as a Vertex pipelines job ID"),
        (["--work-uri", "s3://b/w"], "--work-uri: s3://b/w cannot be read on vertex; give a gs:// URI"),
        (["--host", "http://127.0.0.1:8080"], "--host: is not an option of --target vertex"),
        (["--upload-only", "v1"], "--upload-only: is not an option of --target vertex"),
    ],
)
def test_wrong_options(vertex, submit, more, expected):
    code, _, said = submit(*more)
    assert code == 1
    assert expected in said
    assert not vertex.asked("POST", JOBS)


def test_the_kubernetes_package_is_not_for_vertex(submit, packages, http_stub):
    code, _, said = submit("--package", packages["kubernetes"])
    assert code == 1
    assert "has two documents, so it is a package for Kubernetes; Vertex takes one" in said
    assert "pada compile --target vertex" in said
    assert http_stub.asks == []
