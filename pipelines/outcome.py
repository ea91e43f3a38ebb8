"""What came out of a run: the report, its facts as JSON, and the table."""

from pathlib import Path

from components.backends.executor import write_atomic


def publish(state: Path, run_dir: Path) -> None:
    """Write report.html and report.json of a state (its artifact's folder) to the top of the run directory."""
    write_atomic(run_dir / "report.html", "")
