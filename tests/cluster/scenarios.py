"""What is run on the cluster, and what must come of it. Each scenario is a function that checks as it goes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare import differences, local_run
from llm_stub import SOLVER
from objects import JUDGE_KEY, TEACHER, TEACHER_KEY
from report import run_table, seen_tasks
from runs import ROOT, Desk, Outcome, Strike, place_like, shown_names
from say import say
from teacher import JUDGING, WRITING

from pada_agent.components.backends.store.export import fetch_shipped, shipped

ITERATIONS = 3
STRUCK = ("train-lora", "evaluate-slm", "generate-data")


class Failed(Exception):
    """A scenario did not come out as it must; the sentence says how."""


@dataclass
class Stage:
    """What scenarios share."""

    desk: Desk
    iterations: int = ITERATIONS
    package: Path | None = None

    def loop_package(self) -> Path:
        """Compiled once."""
        if self.package is None:
            self.package = self.desk.compile(self.iterations)
        return self.package

    def submit(self, name: str, *more: str, package: Path | None = None, **how: Any) -> Outcome:
        """A run of the loop's package, or another, with the config of this name."""
        return self.desk.submit(name, package or self.loop_package(), self.desk.scratch / f"{name}.yaml", *more, **how)

    def places(self, name: str, shipped: str = "") -> list[str]:
        """Options for a run's folders."""
        given = self.desk.given
        export = ["--export-uri", given.uri(f"shipped/{shipped}")] if shipped else []
        return ["--work-uri", given.uri(f"work/{name}"), *export]

    def config(self, name: str, iterations: int, **task: str) -> None:
        values = self.desk.settings(self.desk.teacher_url, iterations)
        self.desk.write_config(name, {**values, "task": {**values["task"], **task}})

    def asks(self) -> list[dict[str, str]]:
        """What the teacher's pod was asked so far; nothing that it did not know, and each agent with its own key."""
        lines = self.desk.kube.log(TEACHER, "teacher").splitlines()
        asks = [ask for line in lines if line.startswith("{") and "asked" in (ask := json.loads(line))]
        unknown = [ask["unknown"] for ask in asks if "unknown" in ask]
        check(not unknown, f"the teacher was asked what it does not know: {unknown[:1]}")
        wrong = {ask["as"] for ask in asks if ask["key"] != (JUDGE_KEY if ask["as"] in (JUDGING, SOLVER) else TEACHER_KEY)}
        check(not wrong, f"these agents came without their own key from the secret: {sorted(wrong)}")
        return asks


def check(holds: object, sentence: str) -> None:
    if not holds:
        raise Failed(sentence)


def loop(stage: Stage) -> None:
    """The package of three iterations ends in the local engine's state, and the adapter it ships is there."""
    stage.config("loop", stage.iterations)
    stage.loop_package()
    with local_run(stage.desk, "loop", stage.iterations) as local:
        outcome = stage.submit("loop", *stage.places("loop", "loop"))
        _must_end_well(stage, outcome)
        check(stage.asks(), "no LLM was asked")
        _compare(stage, outcome, stage.iterations, local)
    _must_be_shipped(stage, outcome)
    _must_be_published(stage, outcome, "report", "metrics", "adapter")


def deletions(stage: Stage) -> None:
    """A pod that dies at work is started again, and the run ends as if none had; paid replies are not paid again."""
    stage.config("deletions", 1)
    before = len(stage.asks())

    def at_work(struck: str) -> bool:
        """A writer once a reply is paid and the next one asked for; the others train and evaluate as soon as they run."""
        written = [ask for ask in stage.asks()[before:] if ask["as"] == WRITING] if struck == "generate-data" else []
        return struck != "generate-data" or len(written) >= 2

    strike = Strike(STRUCK, at_work)
    stage.loop_package()
    with local_run(stage.desk, "deletions", 1) as local:
        outcome = stage.submit("deletions", *stage.places("deletions"), strike=strike)
        _must_end_well(stage, outcome)
        missed = sorted(set(STRUCK) - strike.done)
        check(not missed, f"no pod of {', '.join(missed)} was caught at work: they ended before")
        for name in outcome.deleted:
            task = outcome.pods[name].task
            check(len(outcome.tries(task)) > 1, f"{task} has no second pod after {name} was deleted")
        asked = [ask["asked"] for ask in stage.asks()[before:]]
        again = len(asked) - len(set(asked))
        check(again <= 1, f"{again} replies were paid for twice; the one on its way when generate_data's pod died may be")
        _compare(stage, outcome, 1, local)


def again(stage: Stage) -> None:
    """The config of `deletions` once more: KFP's cache has all but the last task and `result`; nothing is paid for."""
    first = next((outcome for outcome in stage.desk.outcomes if outcome.name == "deletions" and outcome.well), None)
    if first is None:
        raise Failed("needs a run of `deletions` that went well before it")
    before = len(stage.asks())
    stage.config("again", 1)
    outcome = stage.submit("again", *stage.places("deletions"))
    _must_end_well(stage, outcome)
    paid = len(stage.asks()) - before
    check(paid == 0, f"the teacher was asked {paid} times for what the ledger of the first run holds")
    names = shown_names(outcome.spec)
    ran = sorted(names[task] for task in names if task in seen_tasks(outcome))
    state, _ = stage.desk.bucket.last_state(outcome.run_id)
    say(f"  the last state says: taken over {state['taken_over']}")
    check(sorted(ran) == ["result", "score-step-matched"], f"with the same inputs these tasks ran again: {', '.join(ran)}")
    check(set(state["taken_over"].values()) == {first.run_id}, f"and not from run {first.run_id}")


def failing(stage: Stage) -> None:
    """A config that names rows which are not there: the run fails; `pada submit --wait` and `result` say the stage's sentence."""
    stage.config("failing", 1, train=stage.desk.given.uri("data/nothing.jsonl"))
    outcome = stage.submit("failing", *stage.places("failing"))
    check(outcome.run_id, f"the run was not accepted: {outcome.said[-400:]}")
    check(not outcome.well, "`pada submit --wait` ended with 0 though the run cannot have gone well")
    ran = sorted(seen_tasks(outcome))
    check(ran == ["prepare", "result"], f"these tasks had pods, and only prepare and result may: {ran}")
    pod = outcome.tries("prepare")[-1]
    check(
        "data/nothing.jsonl:" in pod.message, f"the pod's message is '{pod.message}' and not the stage's sentence about the rows"
    )
    check(pod.message in outcome.said, f"`pada submit --wait` does not say why it failed: {outcome.said[-400:]}")
    _must_be_published(stage, outcome, "report", "metrics")
    report = stage.desk.bucket.text(outcome.run_id, "result", "report")
    check("data/nothing.jsonl:" in report, "the report that `result` published does not say why the run failed")


def failure_patterns(stage: Stage) -> None:
    """pipelines/examples/failure_patterns.py: another evaluator's predictions through an importer."""
    _example(stage, "failure_patterns", "samples_uri")


def augmentation(stage: Stage) -> None:
    """pipelines/examples/augmentation.py: rows written and checked without training."""
    _example(stage, "augmentation", "predictions_uri")


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    "loop": loop,
    "deletions": deletions,
    "again": again,
    "failing": failing,
    "failure_patterns": failure_patterns,
    "augmentation": augmentation,
}


def _example(stage: Stage, name: str, predictions: str) -> None:
    script = ROOT / "pipelines" / "examples" / f"{name}.py"
    folder = stage.desk.scratch / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    done = subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    check(done.returncode == 0, f"{script.name}: {done.stderr[-400:]}")
    package = folder / f"{name}.yaml"
    place_like(stage.loop_package(), package)
    stage.config(name, 1)
    given = stage.desk.given
    more = ["--set", f"{predictions}={given.kfp_uri('data/predictions.jsonl')}", "--work-uri", given.uri(f"work/{name}")]
    outcome = stage.submit(name, *more, package=package)
    _must_end_well(stage, outcome)
    expected = {key for key in shown_names(outcome.spec) if key.rpartition("-")[0] and not key.startswith("importer")}
    missing = sorted(expected - seen_tasks(outcome))
    check(not missing, f"these tasks had no pod: {', '.join(missing)}")
    written = {stored.task for stored in stage.desk.bucket.of_run(outcome.run_id)}
    check(expected <= written, f"these tasks left nothing in the store: {', '.join(sorted(expected - written))}")


def _must_end_well(stage: Stage, outcome: Outcome) -> None:
    check(outcome.run_id, f"the run was not accepted: {outcome.said[-400:]}")
    if outcome.well:
        return
    ended = sorted((pod for pod in outcome.pods.values() if pod.phase == "Failed"), key=lambda pod: pod.ended)
    why = [f"{pod.task} ({pod.name}): {pod.message}" for pod in ended if pod.name not in outcome.deleted]
    by_itself = " (a deleted pod's container ended by itself before the pod was gone, which Argo does not retry)"
    check(False, f"the run failed: {'; '.join(why) or outcome.said[-400:]}{by_itself if outcome.deleted and not why else ''}")


def _compare(stage: Stage, outcome: Outcome, iterations: int, local: Callable[[], Any]) -> None:
    state, task = stage.desk.bucket.last_state(outcome.run_id)
    reached = len(state["iterations"])
    check(reached == iterations, f"the last state, of {task}, knows {reached} iterations and not {iterations}")
    say(f"  the last state is that of {shown_names(outcome.spec).get(task, task)}; waiting for the local engine")
    found = list(differences(local(), state))
    check(not found, f"the final state is not that of the local engine: {len(found)} differences: {'; '.join(found[:5])}")
    say("  its final state is that of the cluster")


def _must_be_shipped(stage: Stage, outcome: Outcome) -> None:
    """The adapter that the last state ships lies at the address that the run was given."""
    state, _ = stage.desk.bucket.last_state(outcome.run_id)
    place = stage.desk.given.uri(f"shipped/{outcome.name}")
    name = (shipped(place) or {}).get("name")
    check(name == state["incumbent"], f"{place} has {name}, and the last state ships {state['incumbent']}")
    files = [file.name for file in fetch_shipped(place, stage.desk.scratch / "shipped").iterdir()]
    check("adapter_model.safetensors" in files, f"{place}: {name} is not an adapter: {files}")


def _must_be_published(stage: Stage, outcome: Outcome, *artifacts: str) -> None:
    """`result` left these in the store."""
    published = {stored.artifact for stored in stage.desk.bucket.of_run(outcome.run_id) if stored.task == "result"}
    missing = sorted(set(artifacts) - published)
    check(not missing, f"`result` has not published {', '.join(missing)}")


def print_tables(stage: Stage) -> None:
    """Of all runs that were accepted."""
    for outcome in stage.desk.outcomes:
        if outcome.run_id:
            print(run_table(outcome, stage.desk.bucket), flush=True)
