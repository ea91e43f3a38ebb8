"""The task's own rows, by which an output without its row's fields is understood."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.tasks.turns import system_and_chat

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class KnownRow:
    """A row that the task has read, and where it belongs."""

    id: str
    split: Split
    fields: Fields
    group: str = ""


class KnownRows:
    """Finds rows by id or by prompt. They are read when one is first looked for: most files need none."""

    def __init__(self, task: Task, rows: Iterable[KnownRow] = ()) -> None:
        self._task, self._rows = task, rows

    def __bool__(self) -> bool:
        return bool(self._index[1])

    @cached_property
    def _index(self) -> tuple[dict[str, list[KnownRow]], dict[str, list[KnownRow]]]:
        """By id, and by each text that a prompt may be."""
        by_id: dict[str, list[KnownRow]] = {}
        by_text: dict[str, list[KnownRow]] = {}
        for row in self._rows:
            if row.id:
                by_id.setdefault(row.id, []).append(row)
            for text in {_bare(text) for text in self._asked(row.fields)}:
                by_text.setdefault(text, []).append(row)
        return by_id, by_text

    def find(self, identity: str, *prompts: str) -> KnownRow | None:
        """The row with this id, if a prompt, where there is one, has its question; else the one with one of these prompts."""
        said = [bare for prompt in prompts if (bare := _bare(prompt))]
        by_id, by_text = self._index
        named = by_id.get(identity, [])
        if said:
            named = [row for row in named if any(_bare(text) in prompt for text in self._asked(row.fields) for prompt in said)]
        for found in (named, *(by_text.get(prompt, []) for prompt in said)):
            if found and all(row.fields == found[0].fields for row in found):
                return min(found, key=lambda row: row.split != "validation")  # a row of both splits is held out
        return None

    def _asked(self, fields: Fields) -> list[str]:
        """What a prompt may be: the question alone, with all that belongs to it, or as this project asks it."""
        messages = self._task.messages(fields)
        whole = "\n".join(m["content"] for m in messages)
        asked = [self._task.question(fields), system_and_chat(messages)[1], whole]
        several = sum(m["role"] == "user" for m in messages) > 1  # the last turn of a conversation is not all that was asked
        return asked if several else [self._task.private_texts(fields)[0], *asked]


def _bare(text: str) -> str:
    return " ".join(text.split())
