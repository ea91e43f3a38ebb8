"""The page of an analysis: one file that needs nothing from outside, in the style of a run's report.

What models and data sets wrote reaches the page through jinja2's autoescaping only.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Template

from pada_agent.components.core.records import Analysis, Pattern, Prediction, Strategy
from pada_agent.components.core.report.page import environment
from pada_agent.components.core.tasks.task import Task

SHOWN, LENGTH = 5, 500  # failures of a pattern; characters of a text


class Failure(NamedTuple):
    """A wrong answer, and why the teacher says that it is one."""

    question: str
    output: str
    reference: str
    why: str


def render(
    task: Task,
    answers: Sequence[Prediction],
    patterns: Sequence[Pattern],
    strategies: Sequence[Strategy],
    analyses: Sequence[Analysis],
    facts: Mapping[str, Any],
) -> str:
    """The page. The same analysis gives the same bytes."""
    by_id = {p.id: p for p in answers if p.split == "validation"}
    why = {a.row_id: a.root_cause for a in analyses}

    def failures(pattern: Pattern) -> list[Failure]:
        rows = [by_id[name] for name in pattern.row_ids[:SHOWN] if name in by_id]
        return [Failure(task.question(p.fields), p.output, p.reference, why.get(p.id, "")) for p in rows]

    cards = [(p, next((s for s in strategies if s.pattern_id == p.id), None), failures(p)) for p in patterns]
    most = max((p.size for p in patterns), default=1) or 1
    return _template().render(task=task, facts=facts, cards=cards, most=most, length=LENGTH)


@cache
def _template() -> Template:
    return environment("pada_agent.pipelines.alone").get_template("analysis.html")
