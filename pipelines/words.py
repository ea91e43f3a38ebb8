"""What a run says of its tasks, in the same words on one machine and on a cluster.

    iteration 2, train: 120 of 300 training steps, 4 min left
    iteration 2, train: 41 s  300 steps, last loss 0.412, 144 rows, 24 synthetic rows
    iteration 2, train failed: InputError: train_data: train.jsonl is empty

Who shows events puts the time before a line.
"""

import re

from pada_agent.components.backends.store.events import Event
from pada_agent.components.core.figures import outcome, so_far
from pada_agent.pipelines.loop import task_names

_ALL = [name.partition("-") for name in task_names(1, 1, scored=True)]
_VERBS = "|".join(dict.fromkeys(verb for verb, _, _ in _ALL))
_MODELS = "|".join(dict.fromkeys(model for _, _, model in _ALL if model and not model[0].isdigit()))
_NAME = re.compile(rf"(?P<verb>{_VERBS})-(?:(?P<iteration>\d+)(?:-(?P<link>\d+))?|(?P<model>{_MODELS}))")


def spoken(task: str) -> str:
    """'train-2' is 'iteration 2, train', 'train-vanilla' is 'vanilla, train'; a name that is not the recipe's stays as it is."""
    name = _NAME.fullmatch(task)
    if name is None:
        return task
    of = f"iteration {name['iteration']}" if name["iteration"] else name["model"]
    return f"{of}, {name['verb']}" + (f" {name['link']}" if name["link"] else "")


def line(event: Event) -> str:
    """An event as a person reads it, without the time."""
    who = spoken(event.task)
    if event.kind == "started":
        attempt = event.numbers.get("attempt", 1)
        return f"{who}: started" + (f", attempt {attempt}" if attempt != 1 else "")
    if event.kind == "progress":
        return f"{who}: {so_far(event.what, event.done, event.total, event.seconds_left)}"
    if event.kind == "ended":
        return f"{who}: {outcome(event.seconds, event.numbers)}"
    return f"{who} {event.kind}: {event.message}"
