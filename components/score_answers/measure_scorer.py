"""Measures the scorer on training rows, once a run: does order decide, does length, does it agree with people?

Order: a row's own answer beside another one, the SLM's to that row if there is one, else another row's; asked in both orders.
Length: a row's own answer, and the same said twice. Neither is shown a right answer, which would be the answer itself and
leave no room above it. People: the same score of a row's own answer beside a person's (task.options.human_score).

Held-out rows take no part.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from pada_agent.components.core.llm_interface import Llm, LlmRequest, Reply
from pada_agent.components.core.quality.scorer_check import Better, ScorerCheck
from pada_agent.components.core.records import TrainRow
from pada_agent.components.core.settings import ScoreSettings
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.score_answers.score import ANSWER, PROMPT, STAGE, ScoreReply, cut, mark_of, score_request

DIFFERENCE = 160  # characters


class CompareReply(Reply):
    """Which of two answers is better."""

    reason: Annotated[str, Field(json_schema_extra={"maxLength": DIFFERENCE})]
    better: Better


@dataclass(frozen=True)
class Case:
    """A training row: its own answer, and another one to compare it with ('' if there is none)."""

    row: TrainRow
    own: str
    other: str


def measure_scorer(
    task: Task, train: Sequence[TrainRow], answers: Mapping[str, str], settings: ScoreSettings, seed: int, scorer: Llm
) -> ScorerCheck:
    """`answers` are the SLM's by row id. Rows that a person scored are drawn first."""
    cases = drawn(task, train, answers, settings.checks, seed)
    pairs = [case for case in cases if case.other]
    compared = scorer.ask_all("answers compared", [_compared(task, c, way, settings) for c in pairs for way in (False, True)])
    scored = scorer.ask_all("answers padded", [_scored(task, c, twice, settings) for c in cases for twice in (False, True)])
    orders = [
        (one.value.better, other.value.better)
        for one, other in zip(compared[::2], compared[1::2], strict=True)
        if one.value and other.value
    ]
    plain, padded = scored[::2], scored[1::2]
    lengths = [(a.value.grade, b.value.grade) for a, b in zip(plain, padded, strict=True) if a.value and b.value]
    people = [
        (float(case.row.fields["human_score"]), reply.value.grade)
        for case, reply in zip(cases, plain, strict=True)
        if reply.value and "human_score" in case.row.fields
    ]
    return ScorerCheck(rows=len(cases), orders=orders, lengths=lengths, people=people)


def drawn(task: Task, train: Sequence[TrainRow], answers: Mapping[str, str], number: int, seed: int) -> list[Case]:
    """At most `number` rows, the same for the same rows and seed whatever their order."""
    draw = random.Random(f"{seed}/scorer")
    rows = sorted(train, key=lambda row: row.id)
    draw.shuffle(rows)
    rows.sort(key=lambda row: "human_score" not in row.fields)  # stable: those first, in the order that was drawn
    own = {row.id: task.reference(row.fields) for row in rows}
    cases = []
    for at, row in enumerate(rows[:number]):
        others = [answers.get(row.id, ""), *(own[other.id] for other in (*rows[at + 1 :], *rows[:at]))]
        different = next((text for text in others if text.strip() and text.strip() != own[row.id].strip()), "")
        cases.append(Case(row, own[row.id], different))
    return cases


def _compared(task: Task, case: Case, turned: bool, settings: ScoreSettings) -> LlmRequest[CompareReply]:
    prompt = cut(task.shown(case.row.fields), PROMPT)
    texts = [cut(text, ANSWER) for text in (case.own, case.other)]
    first, second = reversed(texts) if turned else texts
    shown = {"prompt": prompt, "first": first, "second": second}
    messages = task.prompts.render(
        STAGE, "compare", task=task.description, rubric=task.rubric, mark=mark_of(prompt, *texts), **shown
    )
    key = f"check/order/{case.row.id}/{'second' if turned else 'first'}"
    return LlmRequest.of(CompareReply, key, messages, settings.temperature)


def _scored(task: Task, case: Case, twice: bool, settings: ScoreSettings) -> LlmRequest[ScoreReply]:
    answer = f"{case.own}\n\nTo say it once more: {case.own}" if twice else case.own
    key = f"check/length/{case.row.id}/{'twice' if twice else 'once'}"
    return score_request(task, key, case.row.fields, answer, (), settings)
