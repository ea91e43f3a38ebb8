"""What tests of a whole run share: rows of the quickstart's task, the teacher's standing answers, how two states are compared."""

import hashlib
import json
from pathlib import Path
from typing import Any

QUICKSTART = Path(__file__).parents[1] / "pipelines" / "quickstart"
ROWS = {"train": 12, "validation": 8, "selection": 6, "test": 6}
TASK = {
    "name": "text_to_sql",
    **{split: str(QUICKSTART / f"{split}.jsonl") for split in ROWS},
    **{f"{split}_size": size for split, size in ROWS.items()},
    "options": {"database": str(QUICKSTART / "shop.sql")},
}
WRITING = "You write training examples"
ACCOUNTING = {"train_seconds", "evaluate_seconds", "paid_calls", "replayed", "adapter_uri", "retries"}
STRATEGY = "Write questions that count groups and keep only the large ones."


def teach(server: Any, analysis: Any, items: Any) -> None:
    """Tell the stub what to answer to each agent; what analyses and written rows say is the test's own."""
    server.on("You are a teacher who reads the mistakes", reply=analysis)
    server.on("You find what a group of mistakes", reply={"category_name": "grouping", "pattern": "Groups are not filtered."})
    server.on("You plan training data", reply={"strategy": STRATEGY})
    server.on(WRITING, reply=items)
    server.on("You judge training examples", reply={"adherence": 8, "utility": 8, "relevance": 9, "feedback": "none"})


def spread(text: str, choices: int) -> int:
    """A number below `choices` that depends on the text alone, so that a run that starts again is told the same."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % choices


def state_of(run_dir: Path) -> Any:
    """The final state without what counts seconds, payments and places."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if k not in ACCOUNTING}
        return [bare(v) for v in value] if isinstance(value, list) else value

    return bare(json.loads((run_dir / (run_dir / "latest_state").read_text().strip() / "state.json").read_text()))
