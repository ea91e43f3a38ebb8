"""`make test-cluster`: this project on a real Kubeflow Pipelines, from manifests to finished runs; then all is taken away again.

    python tests/cluster          # what it needs to be told, and what it does: README.md beside this file

Ends with 0 if all went well, 1 if a scenario failed or something was left behind, 2 if something is missing, 130 when stopped.
"""

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[1]))  # llm_stub, tiny_slm, whole_run

import kfp_side
import objects
import runs
from bucket import Bucket
from given import Given, Missing, read_given
from kube import TROUBLE, Kube, one_line
from runs import Desk
from say import say
from scenarios import SCENARIOS, Failed, Stage, print_tables

from pada_agent.components.core.errors import PadaError
from pada_agent.pipelines.kubeflow.submit_kubernetes import Kubeflow

PULL_SECONDS = 1200  # images of some GB, over a slow line
NEEDED = (1.0, 4.0)  # CPUs and GiB of a node, so that a task of this test and what KFP runs there have room


def main() -> int:
    """All of it; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with tempfile.TemporaryDirectory(prefix="test-cluster-") as scratch:
        try:
            desk, kfp = _prerequisites(read_given(os.environ, tuple(SCENARIOS)), Path(scratch))
        except Missing as e:
            for sentence in e.sentences:
                say(f"MISSING  {sentence}")
            return 2
        except KeyboardInterrupt:
            return 130
        return _test(desk, kfp)


def _test(desk: Desk, kfp: Kubeflow) -> int:
    results: dict[str, str] = {}
    stage, stopped = Stage(desk), False
    try:
        _set_up(desk)
        for name, scenario in SCENARIOS.items():
            if not desk.given.only or name in desk.given.only:
                say(f"--- {name}: {(scenario.__doc__ or '').splitlines()[0]}")
                results[name] = _outcome_of(lambda scenario=scenario: scenario(stage))
                say(f"--- {name}: {results[name] or 'ok'}")
                for outcome in (o for o in desk.outcomes if o.run_id and not o.well):
                    kfp_side.stop(kfp, outcome.run_id)
        print_tables(stage)
    except KeyboardInterrupt:
        stopped = True
        say("stopped")
    except (Failed, RuntimeError, PadaError, *TROUBLE) as e:
        results["set up"] = one_line(e)
        say(f"FAILED  set up: {results['set up']}")
    left = _clear(desk, kfp)
    print(f"\n{len(results) - sum(map(bool, results.values()))} passed, {sum(map(bool, results.values()))} failed")
    for name, sentence in results.items():
        print(f"  {name}: {sentence or 'ok'}")
    for sentence in left:
        print(f"  LEFT BEHIND: {sentence}")
    return 130 if stopped else 1 if left or any(results.values()) else 0


def _prerequisites(given: Given, scratch: Path) -> tuple[Desk, Kubeflow]:
    """Everything that can be found out before anything is changed. Raises Missing."""
    wrong: list[str] = []
    kfp = _kfp(given, wrong)
    multi_user = bool(kfp and kfp.health.multi_user)
    kube = _kube(given, kfp.namespace if kfp and multi_user else objects.STANDALONE, scratch, wrong)
    bucket = Bucket(given)
    try:
        bucket.check()
    except (PadaError, AssertionError) as e:
        wrong.append(f"STORE: {one_line(e)}")
    if kfp is None or kube is None:
        raise Missing(*wrong)
    desk = Desk(given, kube, bucket, multi_user, scratch)
    try:
        desk.manifests = objects.manifests(given, kube.namespace, multi_user, kube.own_addresses(), scratch)
        ours = objects.of_this_test(given, dict(os.environ))
        wrong += kube.lacking([*desk.manifests, *ours, objects.teacher(given)])
    except (RuntimeError, *TROUBLE) as e:
        wrong.append(one_line(e))
    if wrong:
        raise Missing(*wrong)
    kind = "multi-user" if multi_user else "single-user"
    say(f"Kubeflow Pipelines {kfp.health.version or 'of unknown version'} at {given.host}, {kind}, namespace {kube.namespace}")
    if not multi_user and kube.namespace != objects.STANDALONE:
        say(f"note: a single-user KFP runs everything in its own namespace; it must be {kube.namespace}")
    return desk, kfp


def _kfp(given: Given, wrong: list[str]) -> Kubeflow | None:
    try:
        kfp = kfp_side.connect(given)
        return kfp_side.connect(given, given.namespace) if kfp.health.multi_user else kfp
    except PadaError as e:
        wrong.append(f"KFP_HOST: {one_line(e)}")
    return None


def _kube(given: Given, namespace: str, scratch: Path, wrong: list[str]) -> Kube | None:
    try:
        kube = Kube(given.context, scratch)
        say(f"Kubernetes {kube.version()} at {kube.host}")
        kube.namespace = given.namespace or namespace
        if (room := kube.room()) and (room[0] < NEEDED[0] or room[1] < NEEDED[1]):
            has, needed = (f"{cpus:g} CPUs and {gib:.1f} GiB" for cpus, gib in (room, NEEDED))
            wrong.append(f"nodes: the roomiest can give {has}; {needed} are needed")
        return kube
    except Exception as e:  # the client of Kubernetes has errors of many libraries, from files to certificates
        wrong.append(f"KUBECONFIG: the cluster cannot be used ({type(e).__name__}: {one_line(e)})")
    return None


def _set_up(desk: Desk) -> None:
    """Raises RuntimeError and the like with a sentence."""
    given, kube = desk.given, desk.kube
    say(f"uploading rows and the small model to {given.store}")
    desk.bucket.fill()
    kept = kube.place([*desk.manifests, *objects.of_this_test(given, dict(os.environ))])
    say(f"applied the manifests ({len(desk.manifests)} objects), the keys and the teacher's script")
    for name in kept:
        say(f"note: {name} is there already and not from this test: it is used as it is, and stays")
    say(f"starting the teacher from {objects.image(given, 'agents')}")
    kube.place([objects.teacher(given)])
    kube.wait("the teacher's pod becomes ready", PULL_SECONDS, lambda: kube.ready(objects.TEACHER), objects.TEACHER)
    for role in ("analysis", "slm"):
        say(f"looking at store and teacher from {objects.image(given, role)}")
        pod = objects.look(given, role, desk.teacher_url)
        kube.place([pod])
        name = pod["metadata"]["name"]
        kube.wait(f"pod {name} ends", PULL_SECONDS, lambda name=name: kube.pod(name).phase == "Succeeded", name)


def _outcome_of(scenario: Callable[[], None]) -> str:
    """'' if it went well, else a sentence."""
    began = time.monotonic()
    try:
        scenario()
    except (Failed, RuntimeError, LookupError, PadaError, AssertionError, *TROUBLE) as e:
        return f"FAILED after {time.monotonic() - began:.0f} s: {one_line(e)}"
    except Exception as e:  # a mistake of this program must not keep it from clearing up, nor from the other scenarios
        traceback.print_exc()
        return f"FAILED by a mistake of this test: {type(e).__name__}: {one_line(e)}"
    return ""


def _clear(desk: Desk, kfp: Kubeflow) -> list[str]:
    """Take everything away; returns what could not be, a sentence each."""
    if desk.given.keep:
        say(f"KEEP: namespace {desk.kube.namespace}, {desk.given.store} and experiment {runs.EXPERIMENT} stay as they are")
        return []
    say("taking everything away again; another Ctrl-C does not stop this")
    started = [outcome.run_id for outcome in desk.outcomes if outcome.run_id]
    left: list[str] = []
    with _undisturbed():
        for what, remove in (
            ("KFP's runs", lambda: kfp_side.remove(kfp, started)),
            ("pods", lambda: _pods_left(desk.kube, started)),
            ("objects", desk.kube.remove),
            (desk.given.store, desk.bucket.remove),
        ):
            try:
                left += remove() or []
            except Exception as e:  # whatever it is, the rest has to be removed too
                left.append(f"{what}: {type(e).__name__}: {one_line(e)}")
    return left


def _pods_left(kube: Kube, started: list[str]) -> list[str]:
    """Pods go with KFP's run, some seconds later."""
    deadline = time.monotonic() + 120
    while True:
        try:
            left = [f"pod {pod.name} in namespace {kube.namespace}" for run in started for pod in kube.pods(run)]
        except TROUBLE as e:
            left = [f"perhaps pods of {', '.join(started)} in namespace {kube.namespace} ({one_line(e)})"]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(2)


@contextmanager
def _undisturbed() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
