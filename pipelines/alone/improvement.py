"""The whole loop, called from Python: what `pada run` does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.state import State
from pada_agent.pipelines.alone.config import Config, read_whole
from pada_agent.pipelines.alone.workplace import as_library


@dataclass(frozen=True)
class Improvement:
    """What a run left in `run_dir`: its report, its adapters. `state` is None if it stopped before there was a model."""

    run_dir: Path
    state: State | None = field(repr=False)
    stopped_at: str

    @property
    def report(self) -> Path:
        """The page, one HTML file."""
        return self.run_dir / "report.html"

    @property
    def adapter(self) -> str:
        """Where the adapter to ship lies; '' as long as there is none."""
        return gather(self.state).shipped_uri if self.state else ""

    def table(self) -> list[dict[str, Any]]:
        """A row for each model, as pandas.DataFrame takes them: accuracy on the test rows and its interval, from 0 to 1."""
        models = gather(self.state).models if self.state else []
        return [
            {"model": m.label, "accuracy": m.test.accuracy, "low": m.test.low, "high": m.test.high, "shipped": m.shipped}
            for m in models
            if m.test
        ]


def improve(config: Config, run_dir: str | Path, *, until: str = "") -> Improvement:
    """Run the whole loop, or go on with a run.

    Args:
        config: a YAML file of a run, or its values.
        run_dir: where everything goes: a folder, or gs://, s3://, minio://.
        until: prepare, train, evaluate, analyze, generate, or a task's name; default: to the end.

    Raises:
        PadaError: with what is wrong and what to do.
    """
    if not str(run_dir):
        raise InputError("run_dir: is empty; give a folder")
    from pada_agent.pipelines.local.run import run

    settings = read_whole(config)
    with as_library():
        outcome = run(settings, str(run_dir), until)
    state = State.load(outcome.state) if outcome.state else None
    return Improvement(outcome.run_dir, state, outcome.stopped_at)
