"""Whether the answers of rows are labels, all of which the training rows show: `labels` of a custom task.

60 answers "delivery", "billing", "delivery", "account" ...   ->   ["account", "billing", "delivery"]

Labels are at most MOST different answers, none longer than LONGEST characters, with ROWS_EACH rows each on average. Numbers and
single letters are labels only in a column that is called so, such as `label` or `class`: elsewhere they are results and options.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, RawRow
from pada_agent.components.core.tasks.columns import normal
from pada_agent.components.core.tasks.custom import Custom
from pada_agent.components.core.tasks.scorers.accepted import answered

MOST = 20
LONGEST = 50
ROWS_EACH = 5
COLUMNS = ("label", "labels", "class", "category", "intent", "sentiment", "target", "topic", "type", "kind")
MISSING = ("na", "n/a", "#n/a", "nan", "null")
_RESULT = re.compile(r"\W*([A-Za-z]|\d[\d.,]*)\W*")


def are_labels(rows: Iterable[Fields], column: str) -> bool:
    """Whether the answers of rows as read are labels; `column` is the name of the answers' column, '' for none."""
    counts: Counter[str] = Counter()
    for fields in rows:
        answers = _answers(fields)
        counts.update(answers)
        if len(answers) > 1 or len(counts) > MOST:
            return False
    return _few_and_often(counts, column)


def all_labels(task: Custom, column: str, splits: Mapping[str, Iterable[RawRow]]) -> tuple[list[str], list[str]]:
    """The labels of the rows of all splits, and what a person should know of them.

    None where those of `train` are none, or where another split has one that no training row has: a teacher may not learn
    of it, and no model is taught it.
    """
    counts: Counter[str] = Counter()
    for fields in _fields(task, splits["train"]):
        counts.update(_answers(fields))
        if len(counts) > MOST:
            return [], []
    if not _few_and_often(counts, column):
        return [], []
    for split, rows in splits.items():
        for fields in _fields(task, rows) if split != "train" else ():
            if strange := [answer for answer in _answers(fields) if answer not in counts]:
                return [], [f"`labels` is left out: a row of {split} has the answer '{strange[0]}', which no training row has"]
    labels = sorted(counts)
    notes = [f"the labels {slip} count as different answers; if they are one, write them alike" for slip in _slips(labels)]
    if missing := [f"'{label}'" for label in labels if label.lower() in MISSING]:
        notes.append(f"{' and '.join(missing)} may stand for a label that is missing; if so, leave these rows out")
    return labels, notes


def _few_and_often(counts: Counter[str], column: str) -> bool:
    if not 2 <= len(counts) <= MOST or counts.total() < ROWS_EACH * len(counts) or max(map(len, counts)) > LONGEST:
        return False
    return normal(column) in COLUMNS or not all(_RESULT.fullmatch(answer) for answer in counts)


def _slips(labels: Sequence[str]) -> list[str]:
    """Labels that differ in capitals, in what parts their words, or in a full stop."""
    alike = defaultdict(list)
    for label in labels:
        alike[re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", label.lower()).rstrip(".")].append(f"'{label}'")
    return [" and ".join(several) for several in alike.values() if len(several) > 1]


def _answers(fields: Fields) -> list[str]:
    """All answers that a row accepts, as they are compared with labels."""
    return [" ".join(row["answer"].split()) for row in answered(fields)]


def _fields(task: Custom, rows: Iterable[RawRow]) -> Iterable[Fields]:
    """Rows as read, without those that cannot be used."""
    for _, row in rows:
        try:
            if not isinstance(row, InputError):
                yield task.read(row)
        except InputError:
            continue
