"""Solves samples without their answers: where a solver comes to another answer, the sample's answer or its question is doubtful.

{"work": "orders(total)", "answer": "SELECT SUM(total) FROM orders"}
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from pada_agent.components.core.llm_interface import Llm, LlmReply, LlmRequest, Reply
from pada_agent.components.core.quality.rules import shortened
from pada_agent.components.core.records import Fields, RejectionKind, Score, SyntheticRow
from pada_agent.components.core.separation.nearest import NearestRows
from pada_agent.components.core.settings import ControlSettings
from pada_agent.components.core.tasks.task import CodeRunner, Solution, Task
from pada_agent.components.core.tasks.turns import system_and_chat

STAGE = "control_quality"
VOTE_TEMPERATURE = 0.7  # of the further answers of a vote: at 0 they would be the first one again
CHARACTERS = 4  # of an answer, for each token that the SLM may write
QUOTED = 240  # characters of an answer in a reason


@dataclass(frozen=True)
class Finding:
    """What came of solving one row: `agreeing` of `asked` answers were the row's own. `kind` and `detail` if that is too few."""

    agreeing: int
    asked: int
    kind: RejectionKind | None = None
    detail: str = ""

    @property
    def text(self) -> str:
        """For a judge."""
        return f"{self.agreeing} of {self.asked} who were not shown the answer came to it"


def solve(
    task: Task,
    rows: Sequence[SyntheticRow],
    train: Sequence[Fields],
    settings: ControlSettings,
    solver: Llm | None,
    run_code: CodeRunner,
) -> dict[str, Finding]:
    """What solving gave, by row id; nothing, without a call, where `settings.solve` is off."""
    votes = settings.solutions
    if not votes or not rows:
        return {}
    assert solver is not None
    near = NearestRows(task, train)
    shown = [near.of(row.fields, settings.solve_shots) for row in rows]
    requests = [solve_request(task, row, settings, s, vote) for row, s in zip(rows, shown, strict=True) for vote in range(votes)]
    replies = solver.ask_all("rows solved blind", requests)
    return {row.id: _finding(task, row, replies[i * votes : (i + 1) * votes], run_code) for i, row in enumerate(rows)}


def solve_request(
    task: Task, row: SyntheticRow, settings: ControlSettings, shown: Sequence[Fields] = (), vote: int = 0
) -> LlmRequest[Any]:
    """Asks for the answer to one row: what the SLM is asked, the task's description, and rows that the SLM was trained on.

    Its value is a `Solution`.
    """
    instructions, prompt = system_and_chat(task.messages(row.fields))
    labels = task.options_of(row.fields)
    reply = _reply(task, tuple(labels))
    form = [{"name": name, "description": field.description} for name, field in task.Solved.model_fields.items()]
    examples = [{"prompt": system_and_chat(task.messages(f))[1], "answer": task.reference(f)} for f in shown]
    given = {"instructions": instructions, "prompt": prompt, "labels": labels, "form": form, "examples": examples}
    messages = task.prompts.render(STAGE, "solve", task=task.description, **given)
    if not vote:
        return LlmRequest.of(reply, f"solve/{row.id}", messages, settings.temperature)
    return LlmRequest.of(reply, f"solve/{row.id}/{vote}", messages, max(settings.temperature, VOTE_TEMPERATURE), f"vote {vote}")


def _reply(task: Task, labels: tuple[str, ...]) -> type[Reply]:
    """The task's `Solved` with a bound on the answer, or the labels it may be."""

    def usable(answer: str) -> str:
        if flaw := task.unusable(answer):
            raise ValueError(flaw)
        return answer

    kind: Any = Annotated[str, AfterValidator(usable)]
    bound: dict[str, Any] = {"maxLength": CHARACTERS * task.max_new_tokens}
    if labels:
        kind, bound = Annotated[Literal[labels], BeforeValidator(lambda answer: str(answer).strip())], {}
    told = Field(description=task.Solved.model_fields["answer"].description, json_schema_extra=bound)
    bases: Any = (task.Solved, Reply)
    return cast("type[Reply]", create_model("SolvedReply", __base__=bases, answer=(kind, told)))


def _finding(task: Task, row: SyntheticRow, replies: Sequence[LlmReply[Any]], run_code: CodeRunner) -> Finding:
    scores = [task.agrees(row.fields, r.value, run_code) if r.value is not None else None for r in replies]
    asked, agreeing = len(replies), sum(s is not None and s.correct for s in scores)
    if 2 * agreeing > asked:
        return Finding(agreeing, asked)
    others = [
        (solution, score)
        for solution, score in zip((r.value for r in replies), scores, strict=True)
        if solution is not None and score is not None and score.valid and not score.correct
    ]
    if 2 * (asked - len(others)) > asked:  # had all answers been usable, they might have agreed
        silent = next((r.error for r in replies if r.error), "the solver gave no answer that can be compared")
        return Finding(agreeing, asked, "not verified", silent)
    return Finding(agreeing, asked, "doubtful answer", _difference(task, row.fields, *others[0], agreeing, asked))


def _difference(task: Task, fields: Fields, solution: Solution, score: Score, agreeing: int, asked: int) -> str:
    """Both answers, and what each gives."""
    found, own = (
        f"{shortened(answer, QUOTED)}{f' ({given})' if (given := task.gives(answer)) else ''}"
        for answer in (solution.answer, task.reference(fields))
    )
    votes = f"{agreeing} of {asked} agree; " if asked > 1 else ""
    why = "" if task.gives(solution.answer) or not score.detail or task.options_of(fields) else f" ({score.detail})"
    return f"{votes}solved blind, the answer is {found}, not {own}{why}"
