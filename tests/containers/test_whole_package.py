"""The compiled package of three iterations run for real: a container a task, real training and embeddings, a stub for the LLMs.

Stages are held to what Kubernetes would hold them to: user and secrets as the package says, no capabilities, a root file system
that cannot be written, a network only for those that ask an LLM or are given an address of the object store. Paid replies,
checkpoints and the adapter to ship lie on a real fake-gcs-server; artifacts where KFP's launcher mounts them, in folders that it
made as the same user.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from llm_stub import serving
from package_runner import PackageRun, TaskFailed
from pods import HERE, KEY, Pods
from tiny_slm import build
from whole_run import EMBEDDING, SLM, TEXT_TO_SQL, check_separation, small_run, spread, state_of, teach

from pada_agent.components.backends.store.export import fetch_shipped, shipped
from pada_agent.components.backends.store.objects import names
from pada_agent.components.core.form import parameters_of
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.state import State
from pada_agent.components.images import TAG
from pada_agent.components.stages import LLM_STAGES, STAGES
from pada_agent.pipelines.kubeflow.compile import compile_loop
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Kubernetes
from pada_agent.pipelines.kubeflow.placement_file import Placement

pytestmark = pytest.mark.model
RUN = {*STAGES} - {"score_answers"}  # the task scores its answers itself


@dataclass
class Cluster(Pods):
    """The package of the loop; of each stage in `kill` one container is killed at work, and the package's retry follows."""

    kill: set[str] = field(default_factory=set)

    def run(self, settings: dict[str, Any], **how: Any) -> PackageRun:
        run = PackageRun(self.spec, self.root, self.start, contained=True, **how)
        uris = {"work_uri": f"{self.store.uri}/work", "export_uri": f"{self.store.uri}/shipped"}
        run.run(**parameters_of(Settings.model_validate(settings)), **uris, data_version="1")
        return run

    def report(self) -> str:
        """What `result` published."""
        (report,) = self.root.rglob("*-result/report")
        return report.read_text()

    def begun(self, process: "subprocess.Popen[str]", name: str, stage: str, folder: Path) -> None:
        """Kill it if it is one of those."""
        if stage in self.kill and self._kill(process, name, stage, folder):
            self.kill.remove(stage)

    def _kill(self, process: subprocess.Popen[str], name: str, stage: str, folder: Path) -> bool:
        """Kill the container when it is at work. Whether it was: it may have come to its end before."""
        asked = len(self.asks())
        inspect = ["inspect", "--format", "{{.State.Pid}}", name]
        while not (pid := int(self.engine(*inspect, check=False).stdout.strip() or 0)) and process.poll() is None:
            time.sleep(0.01)
        while process.poll() is None:
            # Two replies paid for; else the first output half written.
            if len(self.asks()) >= asked + 2 if STAGES[stage].llm else list(folder.iterdir()):
                time.sleep(0.5 if stage == "train_lora" else 0)  # it makes the folder before it trains
                break
            time.sleep(0.001)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return process.wait() == 137

    def check_store(self, run: PackageRun, into: Path) -> None:
        """The store has the paid replies of all stages, and the adapter that the run says it ships, as it was trained."""
        with self.store.used():
            stages = {name.split("/")[0] for name in names(f"{self.store.uri}/work/ledger")}
            copy = fetch_shipped(f"{self.store.uri}/shipped", into / "shipped")
            chosen = shipped(f"{self.store.uri}/shipped")["name"]
        assert stages == RUN & {*LLM_STAGES}
        assert chosen == scored(run).incumbent
        trained = run.local(run.tasks[f"train-{chosen.removeprefix('iteration-')}"].artifacts["adapter"])
        weights = "adapter_model.safetensors"
        assert (copy / weights).read_bytes() == (trained / weights).read_bytes()
        published = run.local(run.tasks["result"].artifacts["adapter"])
        assert (published / weights).read_bytes() == (trained / weights).read_bytes()

    def state_below(self, run: PackageRun) -> Path:
        """A folder that points to the last state as a run directory does."""
        last = [task for task in run.tasks.values() if "state" in task.artifacts][-1].artifacts["state"]
        (self.folder / "latest_state").write_text(str(run.local(last)))
        return self.folder


@pytest.fixture
def stub():
    def judged(ask):
        good = spread(ask.last, 4)
        return {"adherence": 9 if good else 2, "utility": 8, "relevance": 9, "feedback": "none" if good else "Count groups."}

    with serving() as server:
        server.on("You judge training examples", reply=judged)
        teach(server)
        yield server


@pytest.fixture
def settings(stub, shared_folder):
    """Settings of a run on few rows, as JSON; tiny(...) of a model that learns nothing, in seconds."""

    def values(model: str = "", loop: dict[str, int] | None = None) -> dict[str, Any]:
        if not model and not (shared_folder / "slm").exists():
            build(shared_folder / "slm", context=4096)
            (shared_folder / "slm" / "model.safetensors").chmod(0o644)
        return small_run(
            stub.url,
            model or shared_folder / "slm",
            slm={"max_length": 256 if model else 3000},
            embedding={"model": EMBEDDING},
            teacher={"api_key_env": "TEACHER_API_KEY"},
            judge={"api_key_env": "JUDGE_API_KEY"},
            evaluate={"max_new_tokens": 16},
            analyze={"sample": 8, "k_max": 3},
            # No more pairs of generation and control than the package has, so that none is cut off here.
            generate={"batch": 3, "regenerations": 2, "refills": 0, "share": 1.0},
            loop={"iterations": 3, **(loop or {})},
            step_matched=True,
        )

    return values


@pytest.fixture
def cluster(engine, images, model_cache, shared_folder, stub, object_store):
    def make(shape=None, **how):
        placement = {"images": {"registry": HERE, "tag": f"{TAG}-test"}, "all": {"gpu": None}}
        place = Kubernetes(Placement.model_validate(placement))
        slm = shared_folder / "slm"
        seen = {slm: f"{slm}:ro", TEXT_TO_SQL: f"{TEXT_TO_SQL}:ro", model_cache: "/models:ro"}
        text, store = compile_loop(shape or Shape(), place), object_store.elsewhere()
        return Cluster(engine, text, shared_folder, stub, store, seen, {"PADA_MODELS": "/models"}, **how)

    return make


@pytest.fixture
def local_run(tmp_path):
    """The local engine on the same settings, beside the containers: on another core, if there is one."""
    running = []

    def begin(settings):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "pada_agent.pipelines.cli", "run", "--config", str(tmp_path / "config.yaml")]
        keys = dict.fromkeys(KEY, "of-this-machine")
        process = subprocess.Popen(
            [*command, "--run-dir", str(tmp_path / "local")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **keys, "OMP_NUM_THREADS": "1"},
        )
        running.append(process)

        def finished():
            _, err = process.communicate(timeout=900)
            assert process.returncode == 0, err[-3000:]
            return tmp_path / "local"

        return finished

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def iterations(run: PackageRun) -> list[str]:
    return [name for name in run.tasks if name.startswith("score-") and name.removeprefix("score-").isdigit()]


def reason(run: PackageRun) -> str:
    return scored(run).decision.reason


def scored(run: PackageRun) -> State:
    """The state after the last iteration."""
    return State.load(run.local(run.tasks[iterations(run)[-1]].artifacts["state"]))


def test_a_container_of_each_stage_is_killed_and_the_run_reaches_its_limit_as_if_none_was(
    cluster, settings, local_run, stub, tmp_path
):
    given = settings(loop={"iterations": 3, "patience": 3})
    local = local_run(given)
    killed = cluster(kill=set(RUN))
    run = killed.run(given)
    assert killed.kill == set(), "these were never caught at work"
    assert sorted(code for _, code in killed.ran) == [0] * 48 + [137] * len(RUN)
    assert iterations(run) == ["score-1", "score-2", "score-3"]
    assert reason(run) == "the 3 planned iterations are done"
    assert state_of(killed.state_below(run)) == state_of(local())
    alone = [ask.text for ask in stub.asks if ask.headers["authorization"].endswith("of-this-machine")]
    assert set(killed.asks()) == set(alone)
    assert len(killed.asks()) <= len(alone) + len(LLM_STAGES), "what was paid for before a kill is not asked for again"
    killed.check_store(run, tmp_path)


def test_the_real_model_and_a_stop_after_the_first_iteration(cluster, settings, local_run, tmp_path):
    given = settings(SLM, {"iterations": 1})
    local, here = local_run(given), cluster()
    run = here.run(given)
    assert iterations(run) == ["score-1"]
    assert reason(run) == "the planned iteration is done"
    assert {code for _, code in here.ran} == {0}
    assert state_of(here.state_below(run)) == state_of(local())
    here.check_store(run, tmp_path)
    check_separation(here.stub.asks)


def test_a_plateau_ends_the_run_after_the_second_iteration(cluster, settings):
    here = cluster(Shape(attempts=1))
    given = settings(loop={"iterations": 3, "patience": 2})
    run = here.run({**given, "step_matched": False, "generate": {**given["generate"], "regenerations": 0}})
    assert iterations(run) == ["score-1", "score-2"]
    assert reason(run) == "plateau: no better selection accuracy for 2 iterations"


def test_a_stage_that_fails_fails_the_run_and_the_operator_is_told_why(cluster, settings):
    here = cluster()
    given = settings()
    with pytest.raises(TaskFailed, match="train-vanilla: exit code 1 after 1 tries"):
        here.run({**given, "slm": {"model": "/nowhere"}}, retries=False)
    assert here.ran == [("prepare", 0), ("train-vanilla", 1), ("result", 0)]
    assert here.messages[1].startswith("ModelError: model /nowhere: there is no such file or folder")
    assert "ModelError: model /nowhere: there is no such file or folder" in here.report()


def test_more_iterations_than_the_package_has_are_refused_at_once_after_its_retries(cluster, settings):
    here = cluster()
    with pytest.raises(TaskFailed, match="prepare: exit code 1 after 4 tries"):
        here.run(settings(loop={"iterations": 4}))
    assert here.ran == [("prepare", 1)] * 4 + [("result", 0)]
    assert "loop.iterations is 4, but this pipeline is compiled for 3" in here.messages[3]
    assert "loop.iterations is 4, but this pipeline is compiled for 3" in here.report()


def test_the_images_of_the_package_are_the_images_that_were_built(cluster, images):
    containers = [e["container"] for e in cluster(Shape(scored=True)).spec["deploymentSpec"]["executors"].values()]
    assert {c["command"][-1]: c["image"].removeprefix(f"{HERE}/") for c in containers} == {
        f"pada_agent.components.{stage}": images[STAGES[stage].image] for stage in STAGES
    }
