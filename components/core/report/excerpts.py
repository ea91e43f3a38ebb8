"""Texts as a page can show them: bounded, and without invisible characters."""

import re
from typing import Any, Self

from pada_agent.components.core.figures import count
from pada_agent.components.core.records import Record

LENGTH = 500  # characters
HEAD = 0.75  # of what is kept; the rest is the end, where many a prompt has its question
# Control characters get their own pictures; what has none, or cannot be encoded, is replaced.
_PICTURES = {c: 0x2400 + c for c in range(0x20) if chr(c) not in "\t\n"} | {0x7F: 0x2421}
_VISIBLE = {**_PICTURES, **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD), **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)}
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Excerpt(Record):
    """A text, or the beginning and the end of a long one."""

    head: str
    tail: str = ""
    length: int

    @classmethod
    def of(cls, text: str, limit: int = LENGTH) -> Self:
        """At most `limit` characters of a text."""
        return cls(head=text, length=len(text)).cut(limit)

    def cut(self, limit: int) -> Self:
        """At most `limit` characters of this; `length` stays that of the whole."""
        if len(self.head) + len(self.tail) <= limit:
            return self
        first = int(limit * HEAD)
        tail = self.tail or self.head[first:]
        return self.model_copy(update={"head": self.head[:first], "tail": tail[first - limit :]})

    def __str__(self) -> str:
        """The text, saying where something is left out."""
        if len(self.head) + len(self.tail) == self.length:
            return self.head + self.tail
        return f"{self.head} […] {self.tail} [cut: {count(self.length)} characters in all]"


def excerpt(text: str | Excerpt, limit: int = LENGTH) -> str:
    """A text or an excerpt of one, in at most about `limit` characters."""
    if isinstance(text, str) and len(text) <= limit:
        return text
    return str(text.cut(limit) if isinstance(text, Excerpt) else Excerpt.of(text, limit))


def visible(value: Any) -> Any:
    """A string with its invisible characters replaced; anything else as it is. For jinja2's `finalize`."""
    return value.translate(_VISIBLE) if type(value) is str and _UNSEEN.search(value) else value
