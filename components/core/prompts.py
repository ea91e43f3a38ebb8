"""Prompts live in files beside the stage that sends them; this reads and fills them.

{# Names the pattern of one cluster. Variables: task, analyses, counts #}
=== system
You name what a group of failures has in common ...
=== user
Task: {{ task }}
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from pada_agent.components.core.tasks.task import Message

_ENVIRONMENT = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)


@cache
def _parts(stage: str, name: str) -> tuple[tuple[str, Template], ...]:
    text = (files(f"pada_agent.components.{stage}") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
    pieces = re.split(r"^=== (system|user|assistant)\n", text, flags=re.MULTILINE)[1:]
    return tuple((role, _ENVIRONMENT.from_string(body.strip())) for role, body in zip(pieces[::2], pieces[1::2], strict=True))


def render(stage: str, prompt: str, /, **variables: Any) -> list[Message]:
    """The chat of `components/<stage>/prompts/<prompt>.txt`. A variable that the file names and nobody gave is an error."""
    return [{"role": role, "content": template.render(**variables)} for role, template in _parts(stage, prompt)]
