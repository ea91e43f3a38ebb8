"""What a run tells the person who watches it: a line for each task, then the table."""

from rich.console import Console

from pada_agent.components.core.figures import Numbers, listed, outcome
from pada_agent.pipelines.words import spoken


class RunLog:
    """Prints to standard output; progress of long steps goes to standard error on its own."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One plain line."""
        self.console.print(text, markup=False)

    def start(self, folder: str) -> None:
        """The task of this folder begins."""
        self.say(f"{_words(folder)} ...")

    def task(self, folder: str, seconds: float, numbers: Numbers, fresh: bool) -> None:
        """A task is finished, now or before this start."""
        said = outcome(seconds, numbers) if fresh else f"done before  {listed(numbers)}".rstrip()
        self.say(f"{_words(folder)}: {said}")


def _words(folder: str) -> str:
    """'08-train-1' is '08 iteration 1, train': by its number the folder is found."""
    number, _, task = folder.partition("-")
    return f"{number} {spoken(task)}"
