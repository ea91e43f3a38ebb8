"""The tables: seconds, bytes and attempts of each task of each run."""

from bucket import Bucket
from runs import Outcome, shown_names
from say import amount, table

HEADINGS = ("task", "seconds", "written", "pods")


def run_table(outcome: Outcome, bucket: Bucket) -> str:
    """What each task took and left. Raises InputError."""
    sizes: dict[str, int] = {}
    for stored in bucket.of_run(outcome.run_id):
        sizes[stored.task] = sizes.get(stored.task, 0) + stored.size
    rows, names = [], shown_names(outcome.spec)
    for task in sorted(seen_tasks(outcome) | sizes.keys(), key=lambda t: (list(names).index(t) if t in names else -1, t)):
        tries = outcome.tries(task)
        pods = str(len(tries)) if tries else "none: from cache, or no pod of ours"
        rows.append([names.get(task, task), f"{seconds(outcome, task):.0f}", amount(sizes.get(task, 0)), pods])
    rows.sort(key=lambda row: _first(outcome, names, row[0]))
    whole = [f"{len(rows)} tasks", f"{span(outcome):.0f}", amount(sum(sizes.values())), str(len(outcome.pods))]
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


def _first(outcome: Outcome, names: dict[str, str], shown: str) -> float:
    starts = [pod.started for pod in outcome.pods.values() if names.get(pod.task, pod.task) == shown]
    return min(starts, default=0.0)
