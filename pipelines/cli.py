"""The command line: `pada run | estimate | report | doctor | study`. Each command reads settings and calls one function."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from components.core.errors import InputError, PadaError
from pipelines.config import read_config

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Config = Annotated[Path, typer.Option("--config", help="YAML file; see pipelines/quickstart/config.yaml")]
RunDir = Annotated[
    str, typer.Option("--run-dir", help="where everything goes, also gs:// or s3://; default: runs/<name of the config>")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="in place of the config's")]
STOPPED = {130: "interrupted", 143: "terminated"}


@app.command()
def run(
    config: Config,
    run_dir: RunDir = "",
    until: Annotated[str, typer.Option("--until", help="prepare, train, evaluate, analyze, generate, or a task's name")] = "",
    seed: Seed = None,
) -> None:
    """Run the whole loop here, or go on with one that was stopped."""
    from pipelines import local
    from pipelines.outcome import show, show_stop
    from pipelines.run_log import RunLog

    settings = read_config(config, seed)
    folder = run_dir or str(default_run_dir(config, seed))
    with _says_how_to_go_on(["pada", "run", "--config", str(config), "--run-dir", folder]):
        log = RunLog()
        outcome = local.run(settings, folder, until, local.Parts(log=log))
    if outcome.stopped_at:
        show_stop(outcome.stopped_at, outcome.tasks[outcome.stopped_at].folder, log.console)
    elif outcome.state:
        show(outcome.state, outcome.run_dir, log.console)
    if "://" in folder:
        log.say(f"All of it is at {folder}")


@app.command()
def estimate(config: Config, seed: Seed = None) -> None:
    """Say what a run will ask of the LLMs, and what that costs at most, before anything is spent."""
    from pipelines.estimate import show_estimate

    show_estimate(read_config(config, seed))


@app.command()
def report(run_dir: Annotated[str, typer.Option("--run-dir", help="of a run that has been started")]) -> None:
    """Write report.html and report.json of a run again."""
    from pipelines.outcome import last_state, publish
    from pipelines.remote_run import open_run

    directory = open_run(run_dir)
    with directory.brought() as folder:
        publish(last_state(folder), folder)
        directory.keep_report()
    typer.echo(f"{folder / 'report.html'}\n{folder / 'report.json'}")


@app.command()
def doctor(config: Annotated[Path | None, typer.Option("--config", help="also check what this run needs")] = None) -> None:
    """Check that this machine has what a run needs; say the command that mends what is missing."""
    from pipelines.doctor import examine

    if not examine(read_config(config) if config else None):
        raise typer.Exit(1)


@app.command()
def study(
    config: Config,
    out: Annotated[Path, typer.Option("--out", help="folder for the runs, study.json and the table")],
    seeds: Annotated[str, typer.Option("--seeds", help="e.g. 0,1,2")] = "0,1,2",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="seeds at a time, each with its share of the cores")] = 1,
) -> None:
    """Repeat a run over seeds and compare PaDA with step-matched vanilla."""
    from pipelines.study import conduct, parse_seeds

    settings = read_config(config)
    if ":/" in str(out):
        raise InputError(f"--out {out}: a study is written to a folder here")
    with _says_how_to_go_on(["pada", "study", "--config", str(config), "--seeds", seeds, "--jobs", str(jobs), "--out", str(out)]):
        conduct(settings, parse_seeds(seeds), out, jobs=jobs)


def default_run_dir(config: Path, seed: int | None) -> Path:
    """`runs/` and the name of the config, or of its folder when the file is called config."""
    name = config.resolve().parent.name if config.stem == "config" else config.stem
    return Path("runs") / (name if seed is None else f"{name}-seed{seed}")


@contextmanager
def _says_how_to_go_on(command: list[str]) -> Iterator[None]:
    """SIGINT and SIGTERM end the run between two instructions; nothing finished is lost."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit as e:
        if e.code in STOPPED:
            print(f"{STOPPED[int(e.code)]}; what is finished is kept. To go on: {shlex.join(command)}", file=sys.stderr)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Entry point. What the user can mend is one line; anything else is a bug and keeps its traceback."""
    try:
        app()
    except PadaError as e:
        sys.exit(f"pada: {e}")


if __name__ == "__main__":
    main()
