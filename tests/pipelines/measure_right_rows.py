"""What right rows of the rare kinds are worth in text-to-SQL: vanilla fine-tuning with held-out ones, none of a teacher.

    python -m tests.pipelines.measure_right_rows --splits validation --out runs/right
    python -m tests.pipelines.measure_right_rows --splits validation,selection --seed 1 --out runs/right

24 rows of the three rare families are in each split. They are taken out of it, and the test rows stay as they are.
"""

import argparse
import json
import shutil
from pathlib import Path

from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.local import run as local

TEXT_TO_SQL = Path(__file__).parents[2] / "pipelines" / "examples" / "text_to_sql"
RARE = {"having", "join_three", "group_revenue"}


def main() -> None:
    """Train, evaluate, say the accuracy on the test rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", default="validation", help="whose rare rows are trained on: validation, selection or both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    splits = a.splits.split(",")
    folder = a.out / f"{'-'.join(splits)}-seed-{a.seed}"
    shutil.copytree(TEXT_TO_SQL, folder / "data", ignore=shutil.ignore_patterns("*.py", "__pycache__"), dirs_exist_ok=True)
    moved = []
    for split in splits:
        rows = _rows(split)
        moved += [row for row in rows if row["family"] in RARE]
        _write(folder, split, [row for row in rows if row["family"] not in RARE])
    _write(folder, "train", [*_rows("train"), *moved])
    settings = read_config(folder / "data" / "config.yaml", a.seed)
    outcome = local.run(settings, folder / "run", "evaluate")
    metrics = json.loads((outcome.tasks["evaluate-vanilla"]["report_predictions"] / "metrics.json").read_text())
    share = metrics["splits"]["test"]["accuracy"]
    print(f"{len(moved)} right rows of the rare kinds, seed {a.seed}: {100 * share:.1f} % of the test rows")


def _rows(split: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (TEXT_TO_SQL / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def _write(folder: Path, split: str, rows: list[dict[str, str]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "data" / f"{split}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
