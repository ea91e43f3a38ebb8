"""Divides one file into train, validation, selection and test: whole groups, the same ones each time.

600 rows of 300 customers   ->   train 330, validation 90, selection 60, test 120
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.figures import plural
from pada_agent.components.core.records import Fields, RawRow
from pada_agent.components.core.tasks.task import Task

# Of all rows, and at most so many: more test rows cost evaluation and show hardly smaller differences.
SHARES = {"test": (0.2, 1000), "selection": (0.1, 500), "validation": (0.15, 500)}
FEWEST = 20  # rows of a file that is divided


def key_of(task: Task, row: Fields) -> bytes:
    """What keeps rows together: their group, else what is asked, so that one question is in one split. Raises InputError."""
    fields, group = task.read(row), task.group(row)
    return hashlib.sha256((f"group {group}" if group else f"row {task.question(fields)}").encode()).digest()[:12]


def assigned(sizes: Mapping[bytes, int], missing: Iterable[str]) -> dict[bytes, str]:
    """The split of each group, `train` for the rest, by the hashes of the groups alone. Raises InputError for too few rows."""
    wanted = [split for split in SHARES if split in missing]
    total, order = sum(sizes.values()), iter(sorted(sizes))
    if total < FEWEST or len(sizes) < 2 * (len(wanted) + 1):
        raise InputError(
            f"{plural(total, 'row')} in {plural(len(sizes), 'group')} are too few to be divided into train, {', '.join(wanted)}; "
            f"bring {FEWEST} rows, or files of your own (--validation, --test)"
        )
    result: dict[bytes, str] = {}
    for split in wanted:
        share, most = SHARES[split]
        left = max(1, min(most, round(share * total)))
        while left > 0 and (key := next(order, None)) is not None:
            result[key] = split
            left -= sizes[key]
    result |= dict.fromkeys(order, "train")
    if "train" not in result.values():
        raise InputError("a few groups hold nearly all rows, and none is left to train on; name another --group")
    return result


def write_splits(
    rows: Iterable[RawRow], task: Task, split_of: Mapping[bytes, str], folder: Path
) -> tuple[Counter[str], Counter[str]]:
    """Write `folder`/<split>.jsonl, each row as it is, without those that cannot be used; how many rows and groups each has."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with ExitStack() as files:
        names = sorted(set(split_of.values()))
        open_files = {split: files.enter_context((folder / f"{split}.jsonl").open("w", encoding="utf-8")) for split in names}
        for _, row in rows:
            with suppress(InputError):
                if isinstance(row, InputError):
                    raise row
                split = split_of[key_of(task, row)]
                open_files[split].write(json.dumps(row, ensure_ascii=False) + "\n")
                counts[split] += 1
    return counts, Counter(split_of.values())
