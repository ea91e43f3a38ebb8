"""Prompts live in files beside the stage that sends them; this reads and fills them.

{# Names the pattern of one cluster. Variables: task, analyses, counts #}
=== system
You name what a group of failures has in common ...
=== user
Task: {{ task }}
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

_ENVIRONMENT = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)


class Prompts:
    """The prompts of a run: the package's own, and what a user puts in their place (`own`, texts by file name)."""

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self.own = dict(own or {})

    def render(self, stage: str, prompt: str, /, **variables: Any) -> list[dict[str, str]]:
        """The chat of `components/<stage>/prompts/<prompt>.txt`. A variable that the file names and nobody gave is an error."""
        text = self.own.get(f"{prompt}.txt") or packaged(stage, prompt)
        return [{"role": role, "content": template.render(**variables)} for role, template in _parts(text)]


@cache
def packaged(stage: str, prompt: str) -> str:
    """The package's own text of a prompt."""
    return (files(f"pada_agent.components.{stage}") / "prompts" / f"{prompt}.txt").read_text(encoding="utf-8")


@cache
def _parts(text: str) -> tuple[tuple[str, Template], ...]:
    pieces = re.split(r"^=== (system|user|assistant)\n", text, flags=re.MULTILINE)[1:]
    return tuple((role, _ENVIRONMENT.from_string(body.strip())) for role, body in zip(pieces[::2], pieces[1::2], strict=True))
