"""Rows as published become checked splits that share no row.

Order: each split is put into one order that depends on the seed and the rows' ids alone, and a size takes the first rows of
it. So a smaller training set is part of every larger one, and the order of the file does not matter.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from pada_agent.components.core.errors import InputError, refused
from pada_agent.components.core.records import Fields, HeldOutRow, HeldOutSplit, RawRow, Record, TrainRow
from pada_agent.components.core.separation.duplicates import NearDuplicates
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.settings import PrepareData
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.tasks.turns import system_and_chat

HELD_OUT: tuple[HeldOutSplit, ...] = ("validation", "selection", "test")
ID_KEYS = ("id", "task_id", "ind")
_OPTION_LETTER = re.compile(r"^\s*\(?[A-Z1-9][.):]\s+")
RawRows = Iterable[RawRow]


@dataclass(slots=True)
class InputRow:
    """A row on its way, named anew where it is: there may be millions. `where` is its file and line."""

    id: str
    fields: Fields
    group: str
    where: str


class Removal(Record):
    """A row that was left out because a split used later has it too."""

    split: str
    id: str
    like: str
    like_split: str
    similarity: float


@dataclass
class Prepared:
    """The splits, what recognises the held-out ones, and the facts for the manifests."""

    train: list[InputRow]
    held_out: dict[HeldOutSplit, list[HeldOutRow]]
    fingerprints: Fingerprints
    counts: dict[str, dict[str, int]]
    ids_sha256: dict[str, str]
    removed: list[Removal]
    shared_groups: dict[str, int]

    def train_rows(self) -> Iterator[TrainRow]:
        """The training rows as they are written. One by one: all at once they take as much memory again as `train`."""
        return (TrainRow(id=r.id, fields=r.fields, group=r.group) for r in self.train)


def prepare(task: Task, sources: Mapping[str, RawRows], settings: PrepareData) -> Prepared:
    """`sources`: for train, validation, test and perhaps selection, the raw rows, each with its place.

    Raises InputError for all rows that cannot be read or that the task refuses, for an empty split, and for a training row that
    is also held out where duplicates are to be refused.
    """
    complaints: list[InputError] = []
    read = {split: _read(task, split, rows, complaints) for split, rows in sources.items()}
    if complaints:
        raise refused(complaints)
    _name_apart(read)
    splits = {split: _in_order(rows, split, settings.task.split_seed) for split, rows in read.items()}
    counts = {split: {"read": len(rows)} for split, rows in splits.items()}
    duplicates = _DuplicateFilter(task, settings)
    kept = {"test": duplicates.keep("test", splits["test"])}
    if "selection" not in splits:
        splits["validation"], splits["selection"] = _set_aside(duplicates.without_held("validation", splits["validation"]))
        counts["selection"] = {"from_validation": len(splits["selection"])}
    for split in ("selection", "validation", "train"):
        kept[split] = duplicates.keep(split, splits[split])
    sizes = {split: getattr(settings.task, f"{split}_size") for split in kept}
    used = {split: rows[: sizes[split] or None] for split, rows in kept.items()}
    for split, rows in used.items():
        removed = sum(r.split == split for r in duplicates.removed)
        counts[split] |= {"removed": removed, "asked": sizes[split], "rows": len(rows), "groups": len({r.group for r in rows})}
    held_out = {s: [HeldOutRow(id=r.id, split=s, fields=r.fields, group=r.group) for r in used[s]] for s in HELD_OUT}
    texts = {split: [task.private_texts(r.fields) for r in rows] for split, rows in used.items()}
    control = settings.control
    return Prepared(
        train=used["train"],
        held_out=held_out,
        fingerprints=Fingerprints.build({s: texts[s] for s in HELD_OUT}, texts["train"], control.ngram, control.short_ngram),
        counts={split: counts[split] for split in ("train", *HELD_OUT)},
        ids_sha256={split: _sha("\n".join(sorted(r.id for r in rows))) for split, rows in used.items()},
        removed=duplicates.removed,
        shared_groups=_shared_groups(used),
    )


def _read(task: Task, split: str, source: RawRows, complaints: list[InputError]) -> list[InputRow]:
    """The rows of a split; why others cannot be used is added to `complaints`."""
    rows, ids = [], []
    before = len(complaints)
    for where, raw in source:
        if isinstance(raw, InputError):
            complaints.append(raw)
            continue
        try:
            fields, group = task.read(raw), task.group(raw)
        except InputError as e:
            complaints.append(InputError(f"{where}: {e}"))
            continue
        rows.append(InputRow(_content_id(split, fields), fields, group, where))
        ids.append(next((str(raw[k]) for k in ID_KEYS if isinstance(raw.get(k), str | int) and raw[k] != ""), ""))
    if not rows and len(complaints) == before:
        raise InputError(f"task.{split}: the split is empty")
    if all(ids) and len(set(ids)) == len(ids):
        for row, own in zip(rows, ids, strict=True):
            row.id = own
    return rows


def _content_id(split: str, fields: Fields) -> str:
    return f"{split}-{_sha(json.dumps(fields, sort_keys=True))[:12]}"


def _name_apart(splits: Mapping[str, list[InputRow]]) -> None:
    """Ids that two splits share get the split's name, equal rows of a split a number; a row without group is its own."""
    owners = Counter(id for rows in splits.values() for id in {row.id for row in rows})
    for split, rows in splits.items():
        seen: Counter[str] = Counter()
        for row in rows:
            name = row.id if owners[row.id] == 1 else f"{split}-{row.id}"
            seen[name] += 1
            row.id = f"{name}-{seen[name]}" if seen[name] > 1 else name
            row.group = row.group or row.id


def _in_order(rows: list[InputRow], split: str, seed: int) -> list[InputRow]:
    return sorted(rows, key=lambda row: _sha(f"{seed}/{split}/{row.id}"))


class _DuplicateFilter:
    """Keeps back rows that a split used later has: test before selection before validation before train."""

    def __init__(self, task: Task, settings: PrepareData) -> None:
        self._task, self._settings = task, settings.task
        self._held = NearDuplicates(settings.task.near_duplicate)
        self._split: dict[str, str] = {}
        self.removed: list[Removal] = []

    def keep(self, split: str, rows: list[InputRow]) -> list[InputRow]:
        """`without_held`, and what remains is held from now on. Raises InputError if nothing remains."""
        rest = self.without_held(split, rows)
        if not rest:
            raise InputError(f"task.{split}: the split is empty, all its {len(rows)} rows are also in {self._where_else(split)}")
        if split != "train":  # nothing comes after it that it could be held against
            for row in rest:
                self._held.add(row.id, *self._compared(row))
                self._split[row.id] = split
        return rest

    def without_held(self, split: str, rows: list[InputRow]) -> list[InputRow]:
        """The rows that no held split has; the others are noted as removed, or refused."""
        rest = []
        for row in rows:
            twin = self._held.closest(*self._compared(row))
            if twin is None:
                rest.append(row)
                continue
            like, similarity = twin
            if split == "train" and self._settings.duplicates == "refuse":
                raise InputError(
                    f"{row.where}: training row {row.id} is {self._split[like]} row {like} (similarity {similarity:.2f}); "
                    "take it out, or set task.duplicates to remove"
                )
            self.removed.append(
                Removal(split=split, id=row.id, like=like, like_split=self._split[like], similarity=round(similarity, 4))
            )
        return rest

    def _compared(self, row: InputRow) -> tuple[str, str]:
        """The row's first private text, and all that the SLM is shown, in which options may stand in any order."""
        shown = system_and_chat(self._task.messages(row.fields))[1].splitlines()
        return self._task.private_texts(row.fields)[0], "\n".join(sorted(_OPTION_LETTER.sub("", line) for line in shown))

    def _where_else(self, split: str) -> str:
        return " or ".join(sorted({r.like_split for r in self.removed if r.split == split}))


def _set_aside(rows: list[InputRow]) -> tuple[list[InputRow], list[InputRow]]:
    """Two halves, as even as whole groups allow. Which group goes where follows from the seeded order of the rows."""
    groups: dict[str, list[InputRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    if len(groups) < 2:
        raise InputError(
            f"task.validation: its {len(rows)} rows are one group, so no selection split can be set aside; give task.selection"
        )
    halves: tuple[set[str], set[str]] = (set(), set())
    counts = [0, 0]
    for group in sorted(groups, key=lambda g: -len(groups[g])):  # stable: groups of one size stay in seeded order
        side = int(counts[1] < counts[0])
        halves[side].add(group)
        counts[side] += len(groups[group])
    return [r for r in rows if r.group in halves[0]], [r for r in rows if r.group in halves[1]]


def _shared_groups(splits: Mapping[str, list[InputRow]]) -> dict[str, int]:
    """For two splits that share groups, such as articles: how many. Their rows are not independent."""
    groups = {split: {row.group for row in rows} for split, rows in splits.items()}
    shared = {f"{a}+{b}": len(groups[a] & groups[b]) for a, b in combinations(("train", *HELD_OUT), 2)}
    return {pair: count for pair, count in shared.items() if count}


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
