"""`make test-cluster` against the stand-in cluster: what passes there, what is said, and that nothing is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from kubernetes import client
from manifest_builds import lacking
from stand_in.cluster import NAMESPACE, stand_in

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"THE CLUSTER TEST IS NOT TRIED: {lacking()}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with stand_in(tmp_path_factory.mktemp("stand-in")) as found:
        yield found


@pytest.fixture
def start(cluster):
    """Starts the program as make does; it does not outlive the test."""
    running = []

    def begin(**variables):
        told = {**os.environ, **cluster.variables, "OMP_NUM_THREADS": "1", **variables}
        command = [sys.executable, "-u", str(HERE)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=told))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def remains(cluster):
    """Names of what is in the namespace, in KFP and in the store."""
    core, rules = client.CoreV1Api(cluster.api), client.RbacAuthorizationV1Api(cluster.api)
    lists = (
        *(core.list_namespaced_pod, core.list_namespaced_secret, core.list_namespaced_config_map, core.list_namespaced_service),
        *(core.list_namespaced_service_account, rules.list_namespaced_role, rules.list_namespaced_role_binding),
        client.NetworkingV1Api(cluster.api).list_namespaced_network_policy,
    )
    named = [item.metadata.name for ask in lists for item in ask(NAMESPACE).items]
    files = fsspec.filesystem("s3", skip_instance_cache=True).find("mlpipeline")
    return [*named, *cluster.kubeflow.runs, *cluster.kubeflow.experiments, *files]


def test_pods_die_a_run_is_taken_over_a_config_fails_and_nothing_is_left(cluster, start):
    before = remains(cluster)
    said, _ = (process := start(ONLY="deletions again failing")).communicate(timeout=300)
    assert process.returncode == 0, said
    for task in ("train-vanilla", "evaluate-untuned", "generate-1-1"):
        assert f" of {task} at work" in said
    assert "| failed: prepare: InputError: " in said and "generate 1: started again (attempt 2)" in said
    assert "executor" not in said and "-driver" not in said
    assert "its final state is that of the cluster" in said
    rows = {
        line.split()[0]: line.split()[1:]
        for line in said.split("deletions: run ", 1)[1].split("again: run ")[0].splitlines()
        if line
    }
    assert rows["train-vanilla"][-1] == "2", "the pod that was deleted, and the one after it"
    assert rows["score-step-matched"][-1] == "1"
    assert rows["train-1"][2] == "KB" and 90 < int(rows["train-1"][1]) < 200, "the adapter and its record, in the store"
    assert "3 passed, 0 failed" in said and "LEFT BEHIND" not in said
    assert remains(cluster) == before


def test_a_test_that_is_stopped_takes_its_run_and_all_else_away(cluster, start):
    before = remains(cluster)
    process = start(ONLY="loop")
    deadline = time.monotonic() + 200
    while not any(run.tasks for run in cluster.kubeflow.runs.values()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.05)
    (run,) = cluster.kubeflow.runs.values()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 130, said
    assert "taking everything away" in said and "LEFT BEHIND" not in said
    assert run.stopped and remains(cluster) == before


def test_what_is_missing_is_said_before_anything_is_changed(cluster, start):
    before = remains(cluster)
    process = start(STORE_ENDPOINT="http://127.0.0.1:9", KFP_HOST="http://127.0.0.1:9", KUBECONFIG="/nowhere")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    for name in ("KFP_HOST: http://127.0.0.1:9: nothing listens there", "KUBECONFIG: ", "STORE: s3://mlpipeline/tests/"):
        assert f"MISSING  {name}" in said
    assert remains(cluster) == before
