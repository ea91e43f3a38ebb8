"""`pada submit --target kubernetes` with KFP's own client against a loopback server: what arrives, and what is said."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cluster_cases import write_config
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.kubeflow import watch as run_watch
from pada_agent.pipelines.kubeflow.compile import write_package
from pada_agent.pipelines.kubeflow.package import tasks_of
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Kubernetes
from pada_agent.pipelines.kubeflow.placement_file import Placement
from pada_agent.pipelines.kubeflow.submit import Cluster, Request, submit_to_kubernetes
from pada_agent.pipelines.kubeflow.watch import Patience

API = "/apis/v2beta1"
SECRET = "tok-3f9a77"
WORK = {"work_uri": "gs://work/w"}
UNSEEN = ("--set", "data_version=1")  # nobody looks at what lies at gs://data


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setattr(run_watch, "POLL_SECONDS", 0.01)
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_OVERRIDE_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def kfp(http_stub):
    """A single-user KFP that has an experiment `pada-agent` and takes runs."""
    http_stub.on("GET", f"{API}/healthz", {"multi_user": False, "pipeline_store": "database"})
    http_stub.on("GET", f"{API}/experiments", {"experiments": [{"experiment_id": "e1", "display_name": "pada-agent"}]})
    http_stub.on("POST", f"{API}/runs", lambda ask: {**ask.json, "run_id": "r1", "state": "PENDING"})
    return http_stub


@pytest.fixture
def submit(pada, cluster_config, packages, http_stub):
    """Call `pada submit` for the stub with the small package."""

    def call(*more, config=cluster_config, package=packages["kubernetes"], host=http_stub.url):
        given = ["--config", config, "--package", package, "--work-uri", "gs://work/w", *(["--host", host] if host else [])]
        return pada("submit", "--target", "kubernetes", *given, *more)

    return call


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The whole loop, with images that are somewhere and an account of its own. Nobody writes it: it takes long to compile."""
    file = tmp_path_factory.mktemp("compiled") / "loop.yaml"
    placement = {"images": {"registry": "registry.example/team"}, "service_account": "nlp-runner"}
    write_package(Shape(), Kubernetes(Placement.model_validate(placement)), file)
    return file


def test_a_compiled_package_is_taken_with_the_account_it_names(kfp, submit, compiled):
    code, out, said = submit(*UNSEEN, package=compiled)
    assert (code, said) == (0, "")
    assert "makes room" not in out, "it has room for what the default settings ask for"
    (ask,) = kfp.asked("POST", f"{API}/runs")
    assert ask.json["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "pada-agent-improvement-loop"
    assert "platform_spec" in ask.json["pipeline_spec"]
    assert ask.json["runtime_config"]["parameters"]["work_uri"] == "gs://work/w"
    assert ask.json["service_account"] == "nlp-runner"
    submit(*UNSEEN, "--service-account", "mine", package=compiled)
    assert kfp.asked("POST", f"{API}/runs")[-1].json["service_account"] == "mine"


def test_the_shipped_package_s_images_are_nowhere(kfp, pada, cluster_config):
    given = ["--target", "kubernetes", "--host", kfp.url]
    for more in (["--config", cluster_config, "--work-uri", "gs://work/w"], ["--upload-only", "v1"]):
        code, _, said = pada("submit", *given, *more)
        assert code == 1
        assert "its image registry.invalid/pada-agent/" in said and "is in no registry of yours" in said
        assert "`pada compile --target kubernetes --registry registry.example/team --output F.yaml`" in said
    assert not kfp.asks


def _states(*states):
    """A server's answers for a run that goes through `states`."""
    answers = iter(states)
    last = [{}]

    def answer(ask):
        last[0] = next(answers, last[0])
        return {"run_id": "r1", **last[0]}

    return answer


def test_everything_arrives(kfp, submit, cluster_config, packages, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", SECRET)
    values = [part for value in ("rounds=2", "share=1", "dry=true", 'names=["a"]') for part in ("--set", value)]
    where = ["--export-uri", "s3://out/e", "--pipeline-root", "gs://artifacts/kfp"]
    code, out, said = submit(*values, *where, "--run-name", "first try", "--token-env", "MY_TOKEN")
    assert (code, said) == (0, "")
    assert out == f"run r1\n{kfp.url}/#/runs/details/r1\n"
    (ask,) = kfp.asked("POST", f"{API}/runs")
    spec, platform = yaml.safe_load_all(packages["kubernetes"].read_text())
    assert ask.json == {
        "display_name": "first try",
        "experiment_id": "e1",
        "service_account": "pada-agent-runner",
        "pipeline_spec": {"pipeline_spec": _as_sent(spec, pipeline_spec_pb2.PipelineSpec), "platform_spec": platform},
        "runtime_config": {
            "pipeline_root": "gs://artifacts/kfp",
            "parameters": {
                "settings": read_config(cluster_config).model_dump(mode="json", exclude_defaults=True),
                "work_uri": "gs://work/w",
                "export_uri": "s3://out/e",
                "rounds": 2,
                "share": 1.0,
                "dry": True,
                "names": ["a"],
            },
        },
    }
    assert {ask.headers.get("authorization") for ask in kfp.asks} == {f"Bearer {SECRET}"}
    (asked,) = kfp.asked("GET", f"{API}/experiments")
    assert json.loads(asked.query["filter"])["predicates"][0]["stringValue"] == "pada-agent"


def _printed(kfp, submit, *more, **how):
    """What --print-parameters prints, after which nothing has been asked."""
    before = len(kfp.asks)
    code, out, said = submit(*more, "--print-parameters", **how)
    assert code == 0, said
    assert len(kfp.asks) == before
    return json.loads(out)


@pytest.mark.parametrize("host", [True, False])
def test_what_is_printed_is_what_would_be_sent(kfp, submit, compiled, host):
    given = [*UNSEEN, "--export-uri", "gs://out/e"]
    printed = _printed(kfp, submit, *given, package=compiled, host=kfp.url if host else "")
    assert submit(*given, package=compiled)[0] == 0
    assert printed == kfp.asked("POST", f"{API}/runs")[0].json["runtime_config"]["parameters"]
    assert {"iterations", "teacher_url", "settings", "work_uri", "export_uri", "data_version"} <= printed.keys()


def test_what_is_printed_is_what_kfps_own_command_sends(kfp, submit, compiled):
    """`kfp run create` reads each value as JSON, which pipelines/README.md has jq write."""
    shown = {"run_id": "r1", "state": "PENDING", "created_at": "2026-01-01T00:00:00Z"}
    kfp.on("GET", f"{API}/runs/r1", shown)
    printed = _printed(kfp, submit, "--set", 'data_version={"task.train": "1"}', package=compiled)
    values = [f"{name}={json.dumps(value)}" for name, value in printed.items()]
    command = ["--endpoint", kfp.url, "run", "create", "-e", "mine", "-f", str(compiled), *values]
    done = subprocess.run([Path(sys.executable).with_name("kfp"), *command], capture_output=True, text=True, check=False)
    (ask,) = kfp.asked("POST", f"{API}/runs")
    assert (done.returncode, ask.json["runtime_config"]["parameters"]) == (0, printed), done.stderr


def test_printed_notes_are_not_on_standard_output(kfp, pada, compiled, on_the_hub):
    kfp.instead("GET", "/api/models/org/slm", {"error": "gated"}, status=403)
    given = ["--target", "kubernetes", "--config", on_the_hub, "--package", compiled, "--work-uri", "gs://work/w"]
    code, out, said = pada("submit", *given, "--print-parameters")
    assert code == 0 and "note: what lies at slm.model cannot be told from here" in said
    assert json.loads(json.loads(out)["data_version"])["task.train"] == "commit decade", "it looks as a submit does"


@pytest.mark.parametrize("more", [["--wait"], ["--timeout", "3"], ["--rerun", "2"], ["--upload-only", "v1"]])
def test_who_prints_starts_nothing(http_stub, submit, more):
    code, out, said = submit("--print-parameters", *more)
    assert (code, out) == (1, "") and "--print-parameters: " in said and more[0] in said
    assert not http_stub.asks


@pytest.mark.parametrize(
    "given, said",
    [
        (["--run-name", "x" * 129], "has 129 characters; give one line of at most 128"),
        (["--run-name", "a\nb"], "give one line"),
        (["--experiment", "x" * 129], "--experiment: 'xxxx"),
        (["--upload-only", "v" * 128], "give one line of at most 127"),
    ],
)
def test_a_name_that_no_server_keeps(kfp, submit, given, said):
    code, _, told = submit(*given)
    assert code == 1 and said in told and "\n" not in told
    assert not kfp.asked("POST", f"{API}/runs")


def test_a_config_with_a_long_name_makes_a_run_with_a_shorter_one(kfp, submit, tmp_path):
    assert submit(config=write_config(tmp_path / f"{'long-' * 40}.yaml"))[0] == 0
    (ask,) = kfp.asked("POST", f"{API}/runs")
    assert len(ask.json["display_name"]) == 128
    assert re.fullmatch(r"(long-)+.* \d{4}-\d\d-\d\d \d\d-\d\d-\d\d", ask.json["display_name"])


def _as_sent(document, message):
    return json_format.MessageToDict(json_format.ParseDict(document, message()))


def _caching(ask):
    spec = ask.json["pipeline_spec"]["pipeline_spec"]
    dags = [spec["root"], *spec["components"].values()]
    return [task.get("cachingOptions") for dag in dags for task in dag.get("dag", {}).get("tasks", {}).values()]


def test_caching_stays_as_compiled_unless_it_is_put_off_for_all(kfp, submit):
    assert submit()[0] == 0
    assert submit("--no-cache")[0] == 0
    compiled, off = (_caching(ask) for ask in kfp.asked("POST", f"{API}/runs"))
    assert {"enableCache": True} in compiled
    assert off == [{}] * 3  # also the task inside dsl.If, which the SDK's own switch leaves on


@pytest.mark.parametrize("more", [(), ("--export-uri", "gs://out/e"), ("--set", "export_uri=gs://out/e")])
@pytest.mark.parametrize("step_matched", [True, False])
def test_update_state_runs_each_time_where_no_last_task_sees_to_the_export(kfp, submit, compiled, tmp_path, more, step_matched):
    config = write_config(tmp_path / "own.yaml")
    config.write_text(f"{config.read_text()}\nstep_matched: {step_matched}\n")
    code, _, said = submit(*UNSEEN, *more, package=compiled, config=config)
    assert (code, said) == (0, "")
    (ask,) = kfp.asked("POST", f"{API}/runs")
    spec = ask.json["pipeline_spec"]["pipeline_spec"]
    tasks = [t for _, _, t in tasks_of(spec) if "executorLabel" in spec["components"][t["componentRef"]["name"]]]
    uncached = [task["taskInfo"]["name"] for task in tasks if not task.get("cachingOptions")]
    last = {"score-step-matched", "result"}
    exporting = {"start", *(f"{step}-{k}" for step in ("merge", "score") for k in (1, 2, 3))}
    assert set(uncached) == (last | exporting if more and not step_matched else last)


@pytest.fixture
def on_the_hub(http_stub, tmp_path, monkeypatch):
    """A config whose data and models are on a hub; what it answers with is a commit each."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", http_stub.url)
    http_stub.on("GET", "/api/agent-harnesses", {}, status=404)  # its client asks once in a process
    http_stub.on("GET", "/api/datasets/org/rows/revision/refs%2Fconvert%2Fparquet", {"id": "org/rows", "sha": "decade"})
    http_stub.on("GET", "/api/models/org/slm", {"id": "org/slm", "sha": "c0ffee"})
    http_stub.on("GET", "/api/models/org/embedding", {"id": "org/embedding", "sha": "facade"})
    rows = {split: f"org/rows#{split}" for split in ("train", "validation", "test")}
    changes = {"task": rows, "slm": {"model": "org/slm"}, "embedding": {"model": "org/embedding"}}
    return write_config(tmp_path / "hub.yaml", changes)


def _data_versions(kfp):
    return [json.loads(ask.json["runtime_config"]["parameters"]["data_version"]) for ask in kfp.asked("POST", f"{API}/runs")]


def test_a_run_is_told_what_lies_at_each_address(kfp, submit, compiled, on_the_hub):
    for _ in range(2):
        code, out, _ = submit(config=on_the_hub, package=compiled)
        assert code == 0 and "note" not in out
    rows = {f"task.{split}": "commit decade" for split in ("train", "validation", "test")}
    assert _data_versions(kfp) == [rows | {"slm.model": "commit c0ffee", "embedding.model": "commit facade"}] * 2


def test_a_wrong_config_is_told_before_anybody_looks_what_lies_there(http_stub, submit, compiled, on_the_hub):
    on_the_hub.write_text(on_the_hub.read_text().replace("teacher.pada-agent.svc", "localhost"))
    code, _, said = submit(config=on_the_hub, package=compiled)
    assert code == 1 and "teacher.base_url" in said
    assert not http_stub.asks


def test_what_cannot_be_seen_is_new_each_time(kfp, submit, compiled, on_the_hub):
    kfp.instead("GET", "/api/models/org/slm", {"error": "gated"}, status=403)
    for _ in range(2):
        code, out, _ = submit(config=on_the_hub, package=compiled)
        assert code == 0
        assert "note: what lies at slm.model cannot be told from here: nothing is taken over from earlier runs" in out
    first, second = _data_versions(kfp)
    assert first.pop("not seen") != second.pop("not seen") and first == second


def test_defaults_of_a_run(kfp, submit):
    assert submit()[0] == 0
    (ask,) = kfp.asked("POST", f"{API}/runs")
    assert ask.json["display_name"].startswith("demo 20")
    assert "pipeline_root" not in ask.json["runtime_config"]
    parameters = ask.json["runtime_config"]["parameters"]
    assert set(parameters) == {"settings", "work_uri"}  # for the others the package has defaults
    assert "authorization" not in ask.headers


def test_the_host_may_come_from_the_environment(kfp, submit, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp.url)
    assert submit(host="")[0] == 0


def test_an_experiment_is_made_when_there_is_none(kfp, submit):
    kfp.instead("GET", f"{API}/experiments", {})
    kfp.on("POST", f"{API}/experiments", {"experiment_id": "e2"})
    assert submit("--experiment", "mine", "--service-account", "somebody")[0] == 0
    assert kfp.asked("POST", f"{API}/experiments")[0].json == {"display_name": "mine", "namespace": ""}
    (ask,) = kfp.asked("POST", f"{API}/runs")
    assert (ask.json["experiment_id"], ask.json["service_account"]) == ("e2", "somebody")


@pytest.mark.parametrize("given, used", [([], "pada-agent"), (["--namespace", "team-a"], "team-a")])
def test_a_multi_user_kubeflow_gets_the_namespace(kfp, submit, given, used):
    kfp.instead("GET", f"{API}/healthz", {"multi_user": True})
    kfp.instead("GET", f"{API}/experiments", {})
    kfp.on("POST", f"{API}/experiments", {"experiment_id": "e2"})
    assert submit(*given)[0] == 0
    assert kfp.asked("GET", f"{API}/experiments")[0].query["namespace"] == used
    assert kfp.asked("POST", f"{API}/experiments")[0].json["namespace"] == used


def test_waiting_for_success_says_each_change_once(kfp, submit):
    running = {"task_id": "1", "display_name": "analyze", "state": "RUNNING"}
    done = {**running, "state": "SUCCEEDED"}
    others = [{"display_name": name, "state": "SUCCEEDED"} for name in ("root", "analyze-driver", "executor(0)", "condition-1")]
    steps = [
        {"state": "PENDING"},
        {"state": "RUNNING", "run_details": {"task_details": [running, *others]}},
        {"state": "RUNNING", "run_details": {"task_details": [running, *others]}},
        {"state": "SUCCEEDED", "run_details": {"task_details": [done, *others]}},
    ]
    kfp.on("GET", f"{API}/runs/r1", _states(*steps))
    code, out, said = submit("--wait")
    assert (code, said) == (0, "")
    changes = [re.sub(r"^[\d:]+ ", "", line) for line in out.splitlines()[2:]]
    assert changes == [
        *("run: pending", "analyze: running", "run: running", "analyze: succeeded", "run: succeeded"),
        f"The report is in the run's task 'result': {kfp.url}/#/runs/details/r1",
    ]


@pytest.mark.parametrize("state", ["CANCELED", "SKIPPED", "FAILED"])
def test_only_success_is_exit_code_0(kfp, submit, state):
    kfp.on("GET", f"{API}/runs/r1", {"run_id": "r1", "state": state, "error": {"message": "deadline exceeded"}})
    code, out, _ = submit("--wait")
    assert code == 1
    assert "deadline exceeded" in out and re.search(r"^[\d:]+ run: (cancelled|skipped|failed)$", out, re.MULTILINE)


def _runs(kfp, *states):
    """Each run that is started ends in the next of the states."""
    started = []

    def start(ask):
        started.append(ask.json)
        return {**ask.json, "run_id": f"r{len(started)}", "state": "PENDING"}

    kfp.instead("POST", f"{API}/runs", start)
    for number, state in enumerate(states, 1):
        kfp.on("GET", f"{API}/runs/r{number}", {"run_id": f"r{number}", "state": state})
    return started


@pytest.mark.parametrize(
    ("states", "runs", "code"),
    [
        (["SUCCEEDED"], 1, 0),
        (["FAILED", "FAILED", "SUCCEEDED"], 3, 0),
        (["FAILED"] * 5, 4, 1),
        (["FAILED", "CANCELED"], 2, 1),  # somebody wanted it to end
    ],
)
def test_a_run_that_failed_is_started_again_with_the_same_parameters(kfp, submit, states, runs, code):
    started = _runs(kfp, *states)
    ended, out, _ = submit("--rerun", "3", "--run-name", "mine")
    assert (ended, len(started)) == (code, runs)
    assert len({json.dumps([run["pipeline_spec"], run["runtime_config"]]) for run in started}) == 1
    assert [run["display_name"] for run in started] == ["mine", "mine (2)", "mine (3)", "mine (4)"][:runs]
    assert out.count("started again") == runs - 1


def test_waiting_bears_a_short_outage_and_no_long_one(kfp, submit, cluster_config, packages):
    kfp.on("GET", f"{API}/runs/r1", {"message": "try later"}, status=503, times=2)
    kfp.on("GET", f"{API}/runs/r1", trouble="reset", times=4)
    kfp.on("GET", f"{API}/runs/r1", {"run_id": "r1", "state": "SUCCEEDED"})
    request = Request(cluster_config, packages["kubernetes"], WORK, patience=Patience(poll=0.01, silence=30))
    assert submit_to_kubernetes(request, Cluster(kfp.url), lambda line: None)
    kfp.instead("GET", f"{API}/runs/r1", {"message": "try later"}, status=503)
    request = Request(cluster_config, packages["kubernetes"], WORK, patience=Patience(poll=0.05, silence=0.01))
    with pytest.raises(InputError, match=r"stopped waiting: no news.*503.*run r1 itself continues: http"):
        submit_to_kubernetes(request, Cluster(kfp.url), lambda line: None)


def test_a_token_that_expires_while_waiting(kfp, submit, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", SECRET)
    kfp.on("GET", f"{API}/runs/r1", {"message": f"bad {SECRET}"}, status=401)
    code, out, said = submit("--wait", "--token-env", "MY_TOKEN")
    assert code == 1
    assert "refuses the token (HTTP 401)" in said and "continues" in said
    assert SECRET not in out + said


def test_waiting_has_an_end(kfp, submit):
    kfp.on("GET", f"{API}/runs/r1", {"run_id": "r1", "state": "RUNNING"})
    code, _, said = submit("--timeout", "0.0001")
    assert code == 1
    assert "still running" in said and f"{kfp.url}/#/runs/details/r1" in said


def test_upload_makes_the_pipeline_and_then_versions_of_it(kfp, pada, packages):
    package = packages["kubernetes"]
    kfp.on("GET", f"{API}/pipelines", {}, times=1)
    kfp.on("GET", f"{API}/pipelines", {"pipelines": [{"pipeline_id": "p1", "display_name": "improvement-loop"}]})
    kfp.on("POST", f"{API}/pipelines", {"pipeline_id": "p1"})
    kfp.on("POST", f"{API}/pipelines/upload_version", {"pipeline_id": "p1", "pipeline_version_id": "v1"})
    for version in ("0.1.0", "0.2.0"):
        code, out, said = pada(
            "submit", "--target", "kubernetes", "--package", package, "--host", kfp.url, "--upload-only", version
        )
        assert (code, said) == (0, "")
        assert out == f"version {version} of pipeline improvement-loop: {kfp.url}/#/pipelines/details/p1/version/v1\n"
    assert [ask.json for ask in kfp.asked("POST", f"{API}/pipelines")] == [{"display_name": "improvement-loop"}]
    uploads = kfp.asked("POST", f"{API}/pipelines/upload_version")
    assert [ask.query for ask in uploads] == [{"name": "0.1.0", "pipelineid": "p1"}, {"name": "0.2.0", "pipelineid": "p1"}]
    assert uploads[0].parts["uploadfile"] == package.read_bytes()  # both documents, as they stand
    assert not kfp.asked("POST", f"{API}/runs")


def test_a_version_that_is_there_already(kfp, pada, packages):
    kfp.on("GET", f"{API}/pipelines", {"pipelines": [{"pipeline_id": "p1"}]})
    kfp.on("POST", f"{API}/pipelines/upload_version", {"message": "AlreadyExists: 0.1.0"}, status=409)
    code, _, said = pada(
        *("submit", "--target", "kubernetes", "--package", packages["kubernetes"], "--host", kfp.url, "--upload-only", "0.1.0")
    )
    assert code == 1
    assert "version '0.1.0' of pipeline 'improvement-loop': there is one of that name already" in said


HTML = {"Content-Type": "text/html"}
HEALTH_TROUBLES = [
    ({"reply": "<html>log in</html>", "headers": HTML}, "answers with a web page"),
    ({"reply": {"kind": "Status", "code": 200}}, "something other than Kubeflow Pipelines"),
    ({"reply": {"apiServerReady": False, "frontendTagName": "2.17.0"}}, "its API server is not"),
    (
        {"reply": "", "status": 302, "headers": {"Location": "https://dex.example.org/auth?state=1"}},
        "sends on to https://dex.example.org/auth,",
    ),
    ({"reply": "", "status": 401}, "wants a token (HTTP 401); give one with --token-env"),
    ({"reply": "", "status": 403}, "does not let you in (HTTP 403)"),
    ({"reply": "", "status": 404}, "give the address of Kubeflow Pipelines 2.x"),
    ({"reply": "", "status": 503}, "kubectl -n kubeflow get pods"),
    ({"trouble": "reset"}, "no HTTP answer (ConnectionResetError"),
]


@pytest.mark.parametrize("how, expected", HEALTH_TROUBLES)
def test_what_is_at_the_address_is_no_kubeflow(http_stub, submit, how, expected):
    http_stub.on("GET", f"{API}/healthz", **how)
    code, out, said = submit()
    assert (code, out) == (1, "")
    assert said.count("\n") == 0 and said.startswith(f"pada: {http_stub.url}: ")
    assert expected in said
    assert len(http_stub.asks) == 1  # asked once, and nothing more was sent


def test_nothing_listens(submit):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, _, said = submit(host=f"http://127.0.0.1:{port}")
    assert code == 1
    assert "nothing listens there; is `kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80` running?" in said


@pytest.mark.parametrize(
    "host, expected",
    [
        ("http://no-such-host.invalid", "there is no such host"),
        ("127.0.0.1:8080", "is not a URL"),
        ("https://me:s3cret@kfp.example.org", "leave user and password out"),
        ("", "--host: missing; run `kubectl"),
    ],
)
def test_a_wrong_host(submit, host, expected):
    code, _, said = submit(host=host)
    assert code == 1
    assert expected in said
    assert "s3cret" not in said


def test_https_to_a_server_that_speaks_http(submit, http_stub):
    code, _, said = submit(host=http_stub.url.replace("http:", "https:"))
    assert code == 1
    assert "does not speak TLS" in said
    http_stub.unexpected.clear()


REFUSALS = [
    (401, "User identity is empty", "wants a token (HTTP 401)"),
    (
        403,
        "User 'jane' is not authorized: no namespace team-a",
        "not allowed in team-a (User 'jane' is not authorized",
    ),
    (400, "Invalid input error: The input parameter length exceed maximum size of 10000.", "too large"),
    (500, "boom", "answers HTTP 500 (boom)"),
]


@pytest.mark.parametrize("status, message, expected", REFUSALS)
def test_a_refused_run(kfp, submit, status, message, expected):
    kfp.instead("GET", f"{API}/healthz", {"multi_user": True})
    kfp.instead("POST", f"{API}/runs", {"error": message, "code": 7, "message": message}, status=status)
    code, _, said = submit("--namespace", "team-a")
    assert code == 1
    assert said.count("\n") == 0
    assert "cannot start a run in experiment 'pada-agent'" in said and expected in said


def test_no_rights_to_make_an_experiment(kfp, submit):
    kfp.instead("GET", f"{API}/healthz", {"multi_user": True})
    kfp.instead("GET", f"{API}/experiments", {})
    kfp.on("POST", f"{API}/experiments", {"message": "not authorized to create experiments"}, status=403)
    code, _, said = submit()
    assert code == 1
    assert "not allowed in pada-agent (not authorized to create experiments)" in said
    assert "kubeflow-edit" in said and "pada doctor --target kubernetes --namespace pada-agent" in said


def test_a_refusal_never_repeats_the_token(kfp, submit, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", SECRET)
    kfp.instead("POST", f"{API}/runs", {"message": f"token {SECRET} is expired"}, status=401)
    code, out, said = submit("--existing-token", "MY_TOKEN")
    assert code == 1
    assert "refuses the token" in said and "token *** is expired" in said
    assert SECRET not in out + said


@pytest.mark.parametrize("given", [SECRET, "eyJhbGciOiJSUzI1NiJ9.e30.x", "NOT_SET_ANYWHERE"])
def test_a_token_itself_is_no_option(submit, given):
    code, out, said = submit("--token-env", given)
    assert code == 1
    assert "environment variable" in said
    assert given not in out + said


def test_a_run_that_may_have_got_through(kfp, submit):
    kfp.instead("POST", f"{API}/runs", trouble="reset")
    code, _, said = submit()
    assert code == 1
    assert "It may have got through: look there before you try again" in said
    assert len(kfp.asked("POST", f"{API}/runs")) == 1


def test_a_web_page_is_no_run(kfp, submit, cluster_config, packages):
    kfp.on("GET", f"{API}/runs/r1", "<html>sign in</html>", headers=HTML, times=1)
    kfp.on("GET", f"{API}/runs/r1", {"run_id": "r1", "state": "SUCCEEDED"})
    assert submit("--wait")[0] == 0
    kfp.instead("POST", f"{API}/runs", "<html>sign in</html>", headers=HTML)
    code, _, said = submit()
    assert code == 1
    assert "gives an answer that is not KFP's (no run_id)" in said


def test_a_namespace_means_nothing_to_a_single_user_kubeflow(kfp, submit):
    code, _, said = submit("--namespace", "team-a")
    assert code == 1
    assert "single-user" in said and "leave the option out" in said


def test_a_pipeline_root_must_be_a_bucket(submit):
    code, _, said = submit("--pipeline-root", "/tmp/x")
    assert code == 1
    assert "--pipeline-root: /tmp/x cannot be read on kubernetes; give a gs:// or s3:// or minio:// URI" in said


def test_nothing_is_sent_for_a_wrong_config(submit, tmp_path, http_stub):
    config = write_config(tmp_path / "c.yaml", {"teacher": {"base_url": "embedded"}})
    code, _, said = submit(config=config)
    assert code == 1
    assert "teacher.base_url: there is no embedded server on a cluster" in said
    assert http_stub.asks == []


def test_options_of_the_other_target(submit):
    code, _, said = submit("--project", "p")
    assert code == 1
    assert said == "pada: --project: is not an option of --target kubernetes; leave it out"


def test_a_config_is_needed_for_a_run(pada, packages):
    code, _, said = pada("submit", "--target", "kubernetes", "--package", packages["kubernetes"])
    assert code == 1
    assert "--config: missing" in said
