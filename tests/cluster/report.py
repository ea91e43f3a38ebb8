"""The tables: seconds, bytes and attempts of each task of each run; a task without a pod came from KFP's cache."""

import math

from bucket import Bucket
from runs import Outcome, shown_names
from say import amount, table

HEADINGS = ("task", "seconds", "written", "pods")


def run_table(outcome: Outcome, bucket: Bucket) -> str:
    """What each task took and left. Raises InputError."""
    sizes: dict[str, int] = {}
    for stored in bucket.of_run(outcome.run_id):
        sizes[stored.task] = sizes.get(stored.task, 0) + stored.size
    names, rows = shown_names(outcome.spec), []
    for task in sorted(seen_tasks(outcome) | sizes.keys(), key=lambda task: first_start(outcome, task)):
        pods = len(outcome.tries(task)) or "none"
        rows.append([names.get(task, task), f"{seconds(outcome, task):.0f}", amount(sizes.get(task, 0)), str(pods)])
    whole = [f"all {len(rows)}", f"{span(outcome):.0f}", amount(sum(sizes.values())), str(len(outcome.pods))]
    title = f"{outcome.name}: run {outcome.run_id} {'succeeded' if outcome.well else 'failed'}"
    return table(f"\n{title}; the last line's seconds are from its first pod to its last", HEADINGS, [*rows, whole])


def seen_tasks(outcome: Outcome) -> set[str]:
    """Keys of the tasks that had a pod."""
    return {pod.task for pod in outcome.pods.values()}


def seconds(outcome: Outcome, task: str) -> float:
    """How long the task's containers ran, all attempts whose end was seen."""
    return sum(pod.ended - pod.started for pod in outcome.tries(task) if pod.ended)


def span(outcome: Outcome) -> float:
    times = [pod for pod in outcome.pods.values() if pod.started]
    return max((pod.ended or pod.started for pod in times), default=0.0) - min((pod.started for pod in times), default=0.0)


def first_start(outcome: Outcome, task: str) -> float:
    """When its first pod began; tasks that had none come last."""
    return min((pod.started for pod in outcome.tries(task)), default=math.inf)
