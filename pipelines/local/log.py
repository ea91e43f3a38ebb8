"""What a run tells the person who watches it: a line for each task, then the table."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console


class RunLog:
    """Prints to standard output; progress of long steps goes to standard error on its own."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One plain line."""
        self.console.print(text, markup=False)

    def start(self, folder: str) -> None:
        """A task begins."""
        self.say(f"{folder} ...")

    def task(self, folder: str, done: Path, parameters: dict[str, Any], seconds: float, fresh: bool) -> None:
        """A task is finished, now or before this start."""
        took = f"{seconds:.0f} s" if fresh else "done before"
        self.say(f"{folder}: {took}  {_result(done, parameters)}".rstrip())


def _result(done: Path, parameters: dict[str, Any]) -> str:
    accuracies = [
        f"{split} {100 * metrics['accuracy']:.1f} % of {metrics['n']}"
        for file in (done / "predictions" / "metrics.json", done / "report_predictions" / "metrics.json")
        if file.exists()
        for split, metrics in json.loads(file.read_text()).get("splits", {}).items()
    ]
    facts = [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in parameters.items() if value != ""]
    return ", ".join(accuracies or facts)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
