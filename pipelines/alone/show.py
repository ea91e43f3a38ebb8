"""What `pada analyze` prints: each pattern with its failures and strategy, and where the files are."""

from rich.console import Console

from pada_agent.components.core.figures import plural
from pada_agent.pipelines.alone.analysis import RESULT, FailureAnalysis


def show(found: FailureAnalysis, console: Console) -> None:
    """Print an analysis: plain lines, for any terminal."""

    def say(text: str = "") -> None:
        console.print(text, markup=False, soft_wrap=True)

    failures, analysed = (int(found.summary.get(name, 0)) for name in ("failures", "analysed"))
    say(f"{plural(failures, 'failure')} of {plural(len(found.predictions), 'answer')}, {analysed} analysed.")
    if analysed and not found.summary.get("structure", True):
        say("Nothing suggests that they fall into groups.")
    for row in found.table():
        say()
        say(f"{row['pattern']}: {plural(row['failures'], 'failure')} ({row['share']:.0%} of those analysed)")
        say(f"  {row['description']}")
        if row["strategy"]:
            say(f"  Strategy: {row['strategy']}")
    say()
    say(f"Report: {found.report}")
    say(f"As JSON: {found.folder / RESULT}")
