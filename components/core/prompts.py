"""Prompts live in files beside the stage that sends them; this reads and fills them.

{# Names the pattern of one cluster. Variables: task, analyses, counts #}
=== system
You name what a group of failures has in common ...
=== user
Task: {{ task }}

A run may bring files of its own in the place of these; `prompt_check.py` says what they must be.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pada_agent.components.core.errors import InputError

FOLDER = "prompts"  # of a stage, and among the files that travel with the data
# A user's prompt is a program that somebody else may have written: it sees what it is given and nothing else of this process.
ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
_PACKAGE = files("pada_agent.components")
SECTION = re.compile(r"^=== (system|user|assistant)$\n?", re.MULTILINE)


class Section(NamedTuple):
    """One message of a prompt: `text` is its template, which begins at `line` of the file."""

    role: str
    line: int
    text: str


class Prompts:
    """The prompts of a run: the package's own, and what a user puts in their place (`own`, texts by file name)."""

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self.own = dict(own or {})

    @classmethod
    def beside(cls, assets: Path | None) -> "Prompts":
        """Those that came with the data, in a folder of its `assets`."""
        brought = sorted((assets / FOLDER).glob("*.txt")) if assets else []
        return cls({file.name: file.read_text(encoding="utf-8") for file in brought})

    def render(self, stage: str, prompt: str, /, **variables: Any) -> list[dict[str, str]]:
        """The chat of `components/<stage>/prompts/<prompt>.txt`. A variable that the file names and nobody gave is an error.

        Raises InputError for a user's own file that cannot be filled in.
        """
        name = f"{prompt}.txt"
        if name not in self.own:
            return _filled(packaged(stage, prompt), variables)
        try:
            return _filled(self.own[name], variables)
        except Exception as e:  # what a template calls may raise anything
            raise InputError(f"prompts: {name} cannot be filled in ({type(e).__name__}: {e}); correct it and run again") from e


@cache
def packaged(stage: str, prompt: str) -> str:
    """The package's own text of a prompt."""
    return (_PACKAGE / stage / FOLDER / f"{prompt}.txt").read_text(encoding="utf-8")


@cache
def package_prompts() -> dict[str, str]:
    """By file name, the stage whose prompt it is: no two stages have one of the same name."""
    folders = {stage.name: stage / FOLDER for stage in _PACKAGE.iterdir() if (stage / FOLDER).is_dir()}
    found = {file.name: stage for stage, folder in folders.items() for file in folder.iterdir() if file.name.endswith(".txt")}
    return dict(sorted(found.items()))


def package_text(name: str) -> str:
    """The package's own text of the prompt in a file of this name."""
    return packaged(package_prompts()[name], name.removesuffix(".txt"))


def sections(text: str) -> Iterator[Section]:
    """The messages of a prompt. What stands before the first one is none of them."""
    marks = list(SECTION.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, after in zip(marks, ends, strict=False):  # without a message there is an end all the same
        body = text[mark.end() : after]
        begins = mark.end() + len(body) - len(body.lstrip())
        yield Section(mark[1], text.count("\n", 0, begins) + 1, body.strip())


def _filled(text: str, variables: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"role": role, "content": template.render(**variables)} for role, template in _templates(text)]


@cache
def _templates(text: str) -> tuple[tuple[str, Template], ...]:
    return tuple((section.role, ENVIRONMENT.from_string(section.text)) for section in sections(text))
