"""`pada submit --wait`: what tasks tell, in a real store, while KFP's or Google's client asks a loopback server for the state."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cluster_cases import ON_VERTEX, compile_telling, write_config
from small_state import finished, keep, without_new_data
from stores import gs_store

from pada_agent.components.backends.store.events import Event, tell
from pada_agent.components.core.errors import PassingError
from pada_agent.pipelines import follow
from pada_agent.pipelines.kubeflow import failures
from pada_agent.pipelines.kubeflow import watch as run_watch

API, RUN = "/apis/v2beta1", "/apis/v2beta1/runs/r1"
LOG = "/apis/v1alpha1/runs/r1/nodes/{}/log"
PODS = "/api/v1/namespaces/kubeflow/pods"
JOBS = "/v1/projects/proj-1/locations/us-central1/pipelineJobs"
SENTENCE = "InputError: gs://data/nothing.jsonl: there is nothing there"
OF_KUBEFLOW = re.compile(r"executor|driver|root|x7k2p|condition")
LAUNCHED = f"""I1130 00:12:00.100000      14 launcher_v2.go:214] publish logs: true
  answers: 32 in 2 s
Error while reading: no such row, going on
{SENTENCE}
F1130 00:12:01.200000      14 main.go:58] failed to execute component: exit status 1
time="2026-11-30T00:12:01.300Z" level=info msg="sub-process exited" argo=true error="<nil>"
Error: exit status 1
"""


@pytest.fixture(scope="session")
def server():
    with gs_store() as found:
        yield found


@pytest.fixture(scope="session")
def telling(tmp_path_factory):
    return compile_telling(tmp_path_factory.mktemp("telling"))


@pytest.fixture
def store(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(run_watch, "POLL_SECONDS", 0.01)
    with server.elsewhere().used() as found:
        yield found


@pytest.fixture
def said(store):
    """Tell events of a run: `said("started prepare", "failed train-1 no rows")`."""
    begun = datetime.now(UTC) - timedelta(seconds=60)
    count = iter(range(10_000))

    def call(*texts, run="r1", **more):
        for text in texts:
            kind, task, message = [*text.split(" ", 2), ""][:3]
            about = {"message": message, **more, "time": begun + timedelta(milliseconds=next(count))}
            tell(f"{store.uri}/events", run, Event(task=task, kind=kind, **about))

    return call


@pytest.fixture
def kfp(http_stub):
    http_stub.on("GET", f"{API}/healthz", {"multi_user": False, "pipeline_store": "database"})
    http_stub.on("GET", f"{API}/experiments", {"experiments": [{"experiment_id": "e1", "display_name": "pada-agent"}]})
    runs = iter(range(1, 9))
    http_stub.on("POST", f"{API}/runs", lambda ask: {**ask.json, "run_id": f"r{next(runs)}", "state": "PENDING"})
    return http_stub


@pytest.fixture
def submit(pada, telling, cluster_config, http_stub, store):
    """`pada submit --wait`; returns exit code, the lines after the link without the time of day, and the error."""

    def call(*more, uri=store.uri):
        given = ["--config", cluster_config, "--package", telling["kubernetes"], "--work-uri", uri, "--host", http_stub.url]
        code, out, error = pada("submit", "--target", "kubernetes", *given, "--wait", *more)
        lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in out.splitlines()[2:]]
        assert not [line for line in lines if OF_KUBEFLOW.search(line.partition("   ->   ")[0])], lines
        return code, lines, error

    return call


def steps(*given):
    """Answers of a server: before each the function beside it is called; the last one is given again and again."""
    left = list(given)

    def answer(ask):
        state, act = left.pop(0) if len(left) > 1 else left[0]
        act()
        return {"run_id": ask.path.rpartition("/")[2], **state}

    return answer


def nothing():
    """Happens between two looks."""


def node(number, name, state, children=(), template="retry-system-container-impl"):
    """A task detail as KFP makes it from a node of Argo: children by the ids of nodes, the pod's name with its template."""
    return {
        "run_id": "r1",
        "task_id": f"task-{number}",
        "display_name": name,
        "state": state,
        "pod_name": f"loop-x7k2p-{template}-{number}",
        "child_tasks": [{"pod_name": f"loop-x7k2p-{child}"} for child in children],
    }


def nodes(prepared="SUCCEEDED", train="FAILED"):
    return {
        "task_details": [
            node(1, "loop-x7k2p", "FAILED", [2], "entrypoint"),
            node(2, "root-driver", "SUCCEEDED", [3], "system-dag-driver"),
            node(3, "root", "FAILED", [4], "root"),
            node(4, "prepare-driver", "SUCCEEDED", [5], "system-container-driver"),
            node(5, "prepare", prepared, [6, 8], "retry-system-container-executor"),
            node(6, "executor", prepared, [7]),
            node(7, "executor(0)", "FAILED"),
            node(70, "executor(1)", prepared, [8]),
            node(8, "condition-1-driver", "SUCCEEDED", [80], "system-dag-driver"),
            node(80, "condition-1", train, [81], "comp-condition-1"),
            node(81, "train-1-driver", "SUCCEEDED", [9], "system-container-driver"),
            node(9, "train-1", train, [10], "retry-system-container-executor"),
            node(10, "executor", train, [11, 12]),
            node(11, "executor(0)", "FAILED"),
            node(12, "executor(1)", train),
        ]
    }


FROZEN = {
    "task_details": [node(5, "prepare", "RUNNING", [6]), node(6, "executor", "RUNNING", [7]), node(7, "executor(0)", "RUNNING")]
}


def test_events_go_on_where_the_list_of_tasks_stands_still(kfp, submit, said, store):
    """Beyond 1 MB of node status KFP tells no more of tasks."""
    running, frozen = {"state": "RUNNING", "run_details": FROZEN}, {"state": "SUCCEEDED", "run_details": FROZEN}
    look = steps(
        ({"state": "PENDING"}, nothing),
        (running, lambda: said("started prepare")),
        (running, lambda: said("ended prepare", seconds=41)),
        (running, lambda: said("started train-1")),
        (running, lambda: said("progress train-1", what="training steps", done=120, total=300, seconds_left=245)),
        (running, nothing),
        (running, lambda: said("ended train-1", "started result", seconds=90, numbers={"last loss": 0.412})),
        (frozen, lambda: (said("ended result"), keep(finished(), f"{store.uri}/events/r1"))),
    )
    kfp.on("GET", RUN, look)
    said("started prepare", "failed prepare theirs", run="r0")  # somebody else's, with the same work_uri
    code, lines, error = submit()
    assert (code, error) == (0, "")
    assert lines[:11] == [
        "run: pending",
        "prepare: started",
        "run: running",
        "prepare: 41 s",
        "iteration 1, train: started",
        "iteration 1, train: 120 of 300 training steps, 4 min left",
        "iteration 1, train: 1 min 30 s  last loss 0.412",
        "result: started",
        "result: 0 s",
        "run: succeeded",
        *[line for line in lines if line.startswith("model ")],
    ]
    assert [line for line in lines if line.startswith("Iteration 1 (shipped)")]
    assert lines[-1] == f"Report: {store.uri}/events/r1/report.html"


def test_a_run_that_shows_nothing_is_no_success(kfp, submit, store):
    kfp.on("GET", RUN, {"run_id": "r1", "state": "SUCCEEDED"})
    keep(without_new_data(), f"{store.uri}/events/r1")
    code, lines, error = submit()
    assert code == 1 and lines[-1].startswith("Report: ")
    assert error.startswith("pada: no synthetic row was let in")


def test_a_failed_run_ends_with_the_sentence_that_its_stage_told(kfp, submit, said):
    said("started prepare", "stopped prepare terminated", "started prepare", f"failed prepare {SENTENCE}", "ended result")
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED", "run_details": FROZEN})
    code, lines, _ = submit()
    assert code == 1
    assert lines[2] == "prepare: started again (attempt 2)"
    assert lines[-2:] == ["run: failed", f"failed: prepare: {SENTENCE}"]


@pytest.mark.parametrize("multi_user, namespace", [(False, "kubeflow"), (True, "pada-agent")])
def test_the_sentence_comes_with_the_command_that_shows_the_log(kfp, submit, said, multi_user, namespace):
    kfp.instead("GET", f"{API}/healthz", {"multi_user": multi_user})
    said(f"failed train-1 {SENTENCE}")
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED", "run_details": nodes()})
    pod = "loop-x7k2p-retry-system-container-impl-12"
    assert submit()[1][-1] == f"failed: iteration 1, train: {SENTENCE}   ->   kubectl -n {namespace} logs {pod} -c main"


def test_a_task_that_was_lost(kfp, submit, said):
    said("started train-1")
    said("progress train-1", what="training steps", done=120, total=300)
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED", "run_details": FROZEN})
    code, lines, _ = submit()
    assert code == 1
    assert re.fullmatch(
        r"failed: iteration 1, train: it told nothing after [\d:]+ \(120 of 300 training steps\): its pod was lost or .*",
        lines[-1],
    )


@pytest.fixture
def refusing(http_stub, monkeypatch):
    """An address in a store that lets nobody in; nobody told events there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", http_stub.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    http_stub.on("GET", "/private", denied, status=403, headers={"Content-Type": "application/xml"})
    return "s3://private/w"


def test_without_events_the_list_of_tasks_is_said_in_words(kfp, submit, refusing):
    first, second = {"state": "RUNNING", "run_details": FROZEN}, nodes(train="SUCCEEDED")
    looks = steps((first, nothing), (first, nothing), ({"state": "SUCCEEDED", "run_details": second}, nothing))
    kfp.on("GET", RUN, looks)
    code, lines, error = submit(uri=refusing)
    assert (code, error) == (0, "")
    assert lines[0].startswith("What the tasks tell cannot be read from here, so only the run's state is shown: s3://private/w/")
    assert "no permission" in lines[0]
    assert lines[1:] == [
        *("prepare: running", "run: running", "prepare: succeeded", "iteration 1, train: succeeded", "run: succeeded"),
        f"The report is in the run's task 'result': {kfp.url}/#/runs/details/r1",
    ]


def test_an_address_that_only_the_cluster_sees_is_asked_again_later_and_said_once(kfp, submit, refusing, monkeypatch):
    monkeypatch.setattr(run_watch, "_FIRST_PAUSE", 0.0)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    running = {"state": "RUNNING", "run_details": FROZEN}
    kfp.on("GET", RUN, steps((running, nothing), (running, nothing), ({"state": "FAILED", "run_details": FROZEN}, nothing)))
    _, lines, error = submit(uri="minio://mlpipeline/w")
    assert error == "", "nobody waits for it"
    assert len([line for line in lines if "cannot be read from here" in line and "EndpointConnectionError" in line]) == 1
    assert lines[1:3] == ["prepare: running", "run: running"]
    assert lines[-1] == f"The run failed: its backend does not say why; see {kfp.url}/#/runs/details/r1"


def test_a_store_that_answers_again_is_read_again(kfp, submit, refusing, store, said, monkeypatch):
    monkeypatch.setattr(run_watch, "_FIRST_PAUSE", 0.0)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.endpoint)
    away = iter([True, True, False, False, False])
    told = follow.told

    def answer(*arguments):
        if next(away):
            raise PassingError("gs://b/w: cannot be reached")
        return told(*arguments)

    monkeypatch.setattr(follow, "told", answer)
    said("started prepare")
    running = {"state": "RUNNING", "run_details": FROZEN}
    kfp.on("GET", RUN, steps((running, nothing), (running, nothing), (running, nothing), ({"state": "CANCELED"}, nothing)))
    _, lines, _ = submit(uri=store.uri)
    assert lines[1:] == ["prepare: running", "run: running", "prepare: started", "run: cancelled", "The run was cancelled."]


@pytest.mark.parametrize("way", ["api", "ui"])
def test_the_sentence_from_the_log_that_kubeflow_keeps(kfp, submit, refusing, way):
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED", "run_details": nodes()})
    pod = "loop-x7k2p-retry-system-container-impl-12"  # of the last attempt
    if way == "ui":  # its server does not pass the API's address on
        kfp.on("GET", LOG.format(pod), "Cannot GET", status=404, headers={"Content-Type": "text/html"})
        kfp.on("GET", "/k8s/pod/logs", LAUNCHED, headers={"Content-Type": "text/plain"})
    else:
        kfp.on("GET", LOG.format(pod), LAUNCHED, headers={"Content-Type": "text/plain"})
    code, lines, _ = submit(uri=refusing)
    assert code == 1
    assert lines[-1] == f"failed: iteration 1, train: {SENTENCE}   ->   kubectl -n kubeflow logs {pod} -c main"
    assert len([line for line in lines if line.startswith("failed")]) == 1
    if way == "ui":
        (ask,) = kfp.asked("GET", "/k8s/pod/logs")
        assert ask.query == {"podname": pod, "runid": "r1", "podnamespace": "kubeflow"}


def test_a_task_that_kubeflow_could_not_start(kfp, submit, refusing):
    details = [node(4, "prepare-driver", "FAILED", [5], "system-container-driver"), node(5, "prepare", "SKIPPED")]
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED", "run_details": {"task_details": details}})
    assert submit(uri=refusing)[1][-1] == "failed: prepare: Kubeflow could not start it"


def pod(name, task, attempt=0, phase="Failed", **ended):
    """As Kubernetes shows it after its end; `ended` is the state of the container main."""
    state = {"terminated": {"exitCode": 1, "finishedAt": "2026-11-30T00:12:01Z", **ended}} if ended else {}
    status = {"name": "main", "state": state, "image": "i", "imageID": "i", "ready": False, "restartCount": 0}
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": f"2026-11-30T00:1{attempt}:00Z",
            "annotations": {"workflows.argoproj.io/node-name": f"loop-x7k2p.root.condition-1.{task}"},
        },
        "status": {"phase": phase, "containerStatuses": [status], "message": "", "reason": "" if ended else "Evicted"},
    }


@pytest.fixture
def kubernetes(http_stub, store, tmp_path):
    """A kubeconfig that leads to the stub."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": http_stub.url}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "jane"}}],
        "users": [{"name": "jane", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    return http_stub


LAST_WORDS = [
    ({"message": SENTENCE}, SENTENCE),
    (
        {"reason": "OOMKilled", "exitCode": 137},
        "killed for want of memory (OOMKilled); give its image or stage more in the placement file",
    ),
    ({"exitCode": 3}, "ended with exit code 3"),
    ({}, "Evicted"),
]


@pytest.mark.parametrize("ended, sentence", LAST_WORDS)
def test_the_sentence_from_the_pod_where_nothing_else_has_it(kfp, kubernetes, submit, refusing, ended, sentence):
    pods = [
        pod("loop-2", "train-1.executor(1)", 2, **ended),
        pod("loop-1", "train-1.executor(0)", 1, message="terminated; start it again"),
        pod("loop-3", "train-1-driver", 3, message="no"),
        pod("loop-4", "prepare.executor(0)", 3, phase="Succeeded", exitCode=0, message="fine"),
    ]
    kubernetes.on("GET", PODS, {"items": pods})
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED", "run_details": FROZEN})
    code, lines, _ = submit(uri=refusing)
    assert code == 1
    assert lines[-1] == f"failed: iteration 1, train: {sentence}   ->   kubectl -n kubeflow logs loop-2 -c main"
    assert kubernetes.asked("GET", PODS)[0].query["labelSelector"] == "pipeline/runid=r1"


def test_a_lost_task_is_looked_after_at_its_pod(kfp, kubernetes, submit, said):
    said("started train-1")
    kubernetes.on("GET", PODS, {"items": [pod("loop-1", "train-1.executor(0)", reason="OOMKilled", exitCode=137)]})
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED", "run_details": FROZEN})
    assert "failed: iteration 1, train: killed for want of memory (OOMKilled)" in submit()[1][-1]


def test_who_may_not_look_at_pods_is_sent_to_the_run(kfp, kubernetes, submit, refusing):
    kubernetes.on("GET", PODS, {"message": "pods is forbidden"}, status=403)
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED", "run_details": FROZEN})
    assert submit(uri=refusing)[1][-1] == f"The run failed: its backend does not say why; see {kfp.url}/#/runs/details/r1"


def test_a_rerun_is_followed_by_its_own_events(kfp, submit, said, store):
    said("started prepare", "failed prepare no room", "ended result")
    said("started prepare", "ended prepare", "ended result", run="r2")
    keep(finished(), f"{store.uri}/events/r2")
    kfp.on("GET", RUN, {"run_id": "r1", "state": "FAILED"})
    kfp.on("GET", f"{API}/runs/r2", {"run_id": "r2", "state": "SUCCEEDED"})
    code, lines, _ = submit("--rerun", "2")
    assert code == 0
    assert lines.count("failed: prepare: no room") == 1 and lines.count("prepare: started") == 2
    assert lines[-1] == f"Report: {store.uri}/events/r2/report.html"


def test_cancelled(kfp, submit, said):
    said("started prepare", "stopped prepare terminated")
    kfp.on("GET", RUN, {"run_id": "r1", "state": "CANCELED"})
    code, lines, _ = submit()
    assert (code, lines[-2:]) == (1, ["run: cancelled", "The run was cancelled."])


def test_interrupted_at_any_moment(kfp, submit):
    def interrupt(ask):
        raise KeyboardInterrupt

    kfp.on("GET", RUN, {"run_id": "r1", "state": "RUNNING"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_watch, "clock", interrupt)
        code, _, error = submit()
    assert code == 1
    assert error == f"pada: stopped waiting: interrupted; the run r1 itself continues: {kfp.url}/#/runs/details/r1"


@pytest.mark.parametrize(
    "line, said",
    [
        (SENTENCE, SENTENCE),
        ("torch.OutOfMemoryError: CUDA out of memory.", "torch.OutOfMemoryError: CUDA out of memory."),
        ("MemoryError", "MemoryError"),
        ("terminated; paid replies are kept", "terminated; paid replies are kept"),
        ("Error: exit status 1", ""),
        ("answers: 32 in 2 s", ""),
    ],
)
def test_which_line_of_a_log_is_the_sentence(line, said):
    assert failures._sentence_in(f"first\n  {line}  \nError: exit status 1\n") == said


def test_on_vertex_events_are_read_the_same_way(pada, http_stub, google_account, telling, said, store, tmp_path):
    config = write_config(tmp_path / "demo.yaml", ON_VERTEX)
    made = {"name": f"{JOBS.removeprefix('/v1/')}/loop-1", "state": "PIPELINE_STATE_PENDING"}
    http_stub.on("POST", JOBS, made)
    http_stub.on("POST", "/token", {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
    said("started train-1", run="loop-1")
    told = lambda: said(f"failed train-1 {SENTENCE}", "ended result", run="loop-1")  # noqa: E731
    looks = steps(({**made, "state": "PIPELINE_STATE_RUNNING"}, nothing), ({**made, "state": "PIPELINE_STATE_FAILED"}, told))
    http_stub.on("GET", f"{JOBS}/loop-1", lambda ask: {k: v for k, v in looks(ask).items() if k != "run_id"})
    where = ["--location", "us-central1", "--api-endpoint", http_stub.url, "--pipeline-root", f"gs://{store.bucket}/root"]
    given = ["--config", config, "--package", telling["vertex"], "--work-uri", store.uri, *where, "--job-id", "loop-1", "--wait"]
    code, out, error = pada("submit", "--target", "vertex", *given)
    assert (code, error) == (1, "")
    assert [re.sub(r"^[\d:]+ ", "", line) for line in out.splitlines()[2:]] == [
        "iteration 1, train: started",
        "run: running",
        f"iteration 1, train failed: {SENTENCE}",
        "result: 0 s",
        "run: failed",
        f"failed: iteration 1, train: {SENTENCE}",
    ]
