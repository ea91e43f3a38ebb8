"""Runs on the cluster as a user starts them, `pada compile` and `pada submit --wait`, watched from Kubernetes' side.

KFP's own API stops telling about the tasks of a large run, so pods are found by their labels.
"""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from bucket import Bucket
from given import Given
from kube import TROUBLE, Kube, Pod
from objects import LLM_SECRET, STORAGE_SECRET, teacher
from say import say

from pada_agent.pipelines.kubeflow.package import documents_of, tasks_of

ROOT = Path(__file__).parents[2]
EXPERIMENT = "pada-agent-test-cluster"
ACCOUNT = "pada-agent-runner"  # of manifests/base
STUCK_SECONDS = 300  # how long a pod may wait for a node or an image
SILENT_SECONDS = 300  # how long the cluster may be away, a port-forward for example
Spec = dict[str, Any]


@dataclass
class Outcome:
    """A run that has ended. `pods` by name, as they were seen last."""

    name: str
    run_id: str
    code: int
    said: str
    spec: Spec
    pods: dict[str, Pod] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)  # pods that this test deleted

    @property
    def well(self) -> bool:
        return self.code == 0

    def tries(self, task: str) -> list[Pod]:
        """The pods of a task, oldest first."""
        return sorted((pod for pod in self.pods.values() if pod.task == task), key=lambda pod: pod.started)


@dataclass
class Desk:
    """Where runs are compiled, started and watched from."""

    given: Given
    kube: Kube
    bucket: Bucket
    multi_user: bool
    scratch: Path
    manifests: list[dict[str, Any]] = field(default_factory=list)  # what set up applies
    outcomes: list[Outcome] = field(default_factory=list)  # of all runs, those that are still going on too

    @property
    def teacher_url(self) -> str:
        """As pods see it."""
        return f"http://{teacher(self.given)['metadata']['name']}.{self.kube.namespace}.svc:8000/v1"

    def settings(self, url: str, iterations: int) -> dict[str, Any]:
        """A small run's config: data and models in the store, the stub as teacher and judge."""
        llm = {"base_url": url, "concurrency": 1, "timeout_seconds": 60}
        splits = ("train", "validation", "selection", "test")
        return {
            "task": {"name": "gsm8k", **{split: self.given.uri(f"data/{split}.jsonl") for split in splits}},
            "slm": {"model": self.given.uri("slm"), "max_length": 3000},
            # all-mpnet would have to come from somewhere; these vectors mean little, and a stub's rows need no more.
            "embedding": {"model": self.given.uri("slm")},
            "teacher": {**llm, "model": "teacher", "api_key_env": "TEACHER_API_KEY"},
            "judge": {**llm, "model": "judge", "api_key_env": "JUDGE_API_KEY"},
            "train": {"epochs": 1, "learning_rate": 1e-3, "accumulate": 1},
            "evaluate": {"max_new_tokens": 24},
            "analyze": {"k_max": 3},
            # As many links as the package has, so that an engine that has more does no more.
            "generate": {"batch": 3, "regenerations": 1, "refills": 0, "share": 1.0},
            "loop": {"iterations": iterations, "patience": iterations},
            "step_matched": True,
        }

    def write_config(self, name: str, values: dict[str, Any]) -> Path:
        file = self.scratch / f"{name}.yaml"
        file.write_text(yaml.safe_dump(values))
        return file

    def placement(self) -> Path:
        """One node without a GPU, our names, the person's images."""
        one_node = yaml.safe_load((ROOT / "pipelines" / "placements" / "one_node.yaml").read_text())
        secrets = [self.given.pull_secret] if self.given.pull_secret else []
        ours = {
            "images": {"registry": self.given.registry, "tag": self.given.tag, "pull_secrets": secrets},
            "secrets": {"llm": LLM_SECRET, "storage": STORAGE_SECRET},
            "service_account": ACCOUNT,
        }
        file = self.scratch / "placement.yaml"
        file.write_text(yaml.safe_dump({**one_node, **ours}))
        return file

    def compile(self, iterations: int) -> Path:
        """The loop's package. Raises RuntimeError with what `pada compile` says."""
        file = self.scratch / f"loop-{iterations}.yaml"
        words = ["--target", "kubernetes", "--max-iterations", str(iterations), "--attempts", "2", "--output", str(file)]
        done = self._pada("compile", *words, "--placement", str(self.placement()))
        if done.returncode:
            raise RuntimeError(f"pada compile: {done.stderr.strip()}")
        return file

    def _pada(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pada_agent.pipelines.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def submit(self, name: str, package: Path, config: Path, *more: str, strike: "Strike | None" = None) -> Outcome:
        """`pada submit --wait` with `more` options; `strike` deletes pods while the run goes on.

        Raises RuntimeError with a sentence when the run neither ends nor goes on.
        """
        words = ["--target", "kubernetes", "--config", str(config), "--package", str(package), *more]
        words += ["--pipeline-root", self.given.kfp_uri("artifacts")]
        words += ["--wait", "--timeout", str(self.given.minutes), "--run-name", f"test-cluster {name}"]
        words += ["--host", self.given.host, "--experiment", EXPERIMENT, "--service-account", ACCOUNT]
        words += ["--namespace", self.kube.namespace] if self.multi_user else []
        words += ["--token-env", "KFP_TOKEN"] if self.given.token else []
        words += ["--ca-cert", self.given.ca_cert] if self.given.ca_cert else []
        command = [sys.executable, "-u", "-m", "pada_agent.pipelines.cli", "submit", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines: list[str] = []
        reader = threading.Thread(target=_echo, args=(process, lines), daemon=True)
        reader.start()
        spec = documents_of(package.read_text())[0]
        outcome = Outcome(name, "", -1, "", spec)
        self.outcomes.append(outcome)
        try:
            self._follow(process, lines, outcome, strike)
        finally:
            process.kill()
            outcome.code = process.wait()
            reader.join(10)
            outcome.said = "\n".join(lines)
        return outcome

    def _follow(self, process: subprocess.Popen[str], lines: list[str], outcome: Outcome, strike: "Strike | None") -> None:
        deadline, answered = time.monotonic() + 60 * self.given.minutes + 300, time.monotonic()
        waiting: dict[str, float] = {}
        while process.poll() is None:
            time.sleep(0.2 if strike else 1.0)
            if time.monotonic() > deadline:
                raise RuntimeError(f"{outcome.name}: `pada submit --timeout {self.given.minutes}` did not end by itself")
            if not outcome.run_id and (found := re.search(r"^run (\S+)$", "\n".join(lines), re.MULTILINE)):
                outcome.run_id = found[1]
            if not outcome.run_id:
                continue
            try:
                pods, answered = self.look(outcome), time.monotonic()
            except TROUBLE as e:
                if time.monotonic() - answered > SILENT_SECONDS:
                    raise RuntimeError(f"{outcome.name}: the cluster has not answered for {SILENT_SECONDS} s: {e}") from e
                continue
            check_waiting(outcome.name, pods, waiting)
            if strike:
                strike(self.kube, outcome, pods)
        if outcome.run_id:
            with suppress(*TROUBLE):
                self.look(outcome)

    def look(self, outcome: Outcome) -> list[Pod]:
        """The run's pods as they are now; the outcome keeps those that were there before too."""
        pods = self.kube.pods(outcome.run_id)
        outcome.pods.update({pod.name: pod for pod in pods})
        return pods


@dataclass
class Strike:
    """Deletes a pod of each of these stages when it is at work: `at_work` says whether the stage is, of a running pod."""

    stages: Sequence[str]
    at_work: Callable[[str], bool]
    done: set[str] = field(default_factory=set)

    def __call__(self, kube: Kube, outcome: Outcome, pods: Sequence[Pod]) -> None:
        for pod in pods:
            if pod.stage in self.stages and pod.stage not in self.done and pod.running and self.at_work(pod.stage):
                kube.delete_at_once(pod.name)
                say(f"  deleted pod {pod.name} of {pod.task} at work")
                outcome.deleted.append(pod.name)
                self.done.add(pod.stage)


def place_like(loop: Path, other: Path) -> None:
    """Give the tasks of a pipeline of single components what those of the loop's package have: images, keys, labels.

    That is what the owner of a pipeline does with components that know no cluster.
    """
    (spec, platform), documents = documents_of(loop.read_text()), documents_of(other.read_text())
    known = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = spec["deploymentSpec"]["executors"]
    by_command = {str(e["container"]["command"]): (e["container"], known[label]) for label, e in executors.items()}
    placed = {}
    for label, executor in documents[0]["deploymentSpec"]["executors"].items():
        if "container" in executor:
            like, on_kubernetes = by_command[str(executor["container"]["command"])]
            executor["container"] = {**executor["container"], "image": like["image"], "resources": like["resources"]}
            placed[label] = on_kubernetes
    rest = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": placed}}}}
    other.write_text(yaml.safe_dump_all([documents[0], rest], sort_keys=False))


def shown_names(spec: Spec) -> dict[str, str]:
    """Display name by task key, in the order of the package."""
    executors = {name for name, component in spec["components"].items() if "executorLabel" in component}
    return {key: task["taskInfo"]["name"] for _, key, task in tasks_of(spec) if task["componentRef"]["name"] in executors}


def _echo(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line.rstrip())
        say(f"  | {line.rstrip()}")


def check_waiting(run: str, pods: Sequence[Pod], waiting: dict[str, float]) -> None:
    """Raises RuntimeError for a pod that has long been waiting for what will not come; `waiting` remembers since when."""
    for pod in pods:
        if pod.phase != "Pending" or not pod.message:
            waiting.pop(pod.name, None)
        elif time.monotonic() - waiting.setdefault(pod.name, time.monotonic()) > STUCK_SECONDS:
            raise RuntimeError(f"{run}: pod {pod.name} of {pod.task} has waited {STUCK_SECONDS} s: {pod.message}")
