"""The sizes of what the LLMs will be sent, in tokens.

Prompts are rendered with the user's own training rows in the place of what is not known yet, so only the sizes of replies and the
number of tokens in a text are guesses.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from statistics import fmean
from typing import Any

from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.method import FromRow, Origin, TrainingRows, load_method
from pada_agent.components.core.quality.rules import QUESTION_SHOWN, shortened
from pada_agent.components.core.records import Fields
from pada_agent.components.core.settings import ControlSettings, GenerateSettings
from pada_agent.components.core.tasks.answer_first import answer_first
from pada_agent.components.core.tasks.task import Message, Task
from pada_agent.components.core.tasks.turns import system_and_chat

MISSING = 1 / 2  # of the rows of a batch that goes back, see estimate.py
DOUBTFUL = 1 / 2  # of the refused rows, where they are solved: they are told with both answers. A guess
SAMPLED = 100  # training rows that prompts are rendered with
WORK, SOLVED = 40, 16  # before a solver's answer, and in what the judge is told of it
CHAT = 5  # tokens around a message
COUNTS_SHOWN, WRITTEN_SHOWN = 5, 8  # in one prompt; as in the stages
NOTE = "Leaves out the condition that the question asks for and answers a simpler one."


class PromptSizes:
    """Mean tokens of the prompts and of a row, over a sample of training rows that does not depend on their order."""

    def __init__(
        self, task: Task, rows: Sequence[Fields], generate: GenerateSettings, detail: str, control: ControlSettings
    ) -> None:
        self._task, self._shots, self._compose = task, generate.shots, generate.freedom == "compose"
        self.detail, self._brief, self._control = detail, detail == "brief", control
        self._strategy = " ".join([NOTE] * (2 if self._brief else 16))
        method = load_method(generate.method)
        self._form = method.form(task, generate.context)
        self._from_row = method if isinstance(method, FromRow) and method.prompt else None
        self._row_prompts: dict[bool, float] = {}  # mean tokens, by whether it is a next try
        self._first = None if self._from_row else answer_first(task, generate.order)
        chosen = random.Random(0).sample(sorted(rows, key=repr), min(SAMPLED, len(rows)))
        self._shown = [{"question": task.question(f), "reference": task.reference(f)} for f in chosen]
        needs = Counter(feature for f in chosen for feature in sorted(task.features(f)))  # ties fall alike in each process
        self._counts = [{"feature": name, "failed": n, "passed": n} for name, n in needs.most_common(COUNTS_SHOWN)]
        self._features = [str(count["feature"]) for count in self._counts[:1]]
        self._chosen = chosen
        self._sample = fmean(token_count(task.sample_of(f).model_dump_json()) for f in chosen)
        self._reply = fmean(token_count(self._form.of(f).model_dump_json()) for f in chosen)
        if self._first:
            self._answer = fmean(token_count(self._first.answer_of(f).model_dump_json()) for f in chosen)
            self._question = fmean(token_count(self._first.question_of(f).model_dump_json()) for f in chosen)
        self._row = fmean(_row_tokens(task, f) for f in chosen)
        written = [_written(task, f) for f in chosen]
        self._written_row = fmean(_row_tokens(task, f) for f in written)
        self._written_question = fmean(token_count(f"- {shortened(task.question(f), QUESTION_SHOWN)}\n") for f in written)

    @cached_property
    def analyse(self) -> float:
        """The prompt for one failure."""
        return self._mean("analyze_patterns", "analyse", lambda i: {**i, "output": i["reference"], "detail": NOTE})

    def categorise(self, shown: int, size: int) -> float:
        """The prompt that names a pattern: `shown` analyses, and counts over `size` failures."""
        notes = [{"root_cause": NOTE, "scenario": NOTE}] * shown
        counted = {"counts": self._counts, "size": size, "passed": size, "features": self._features}
        return self._size("analyze_patterns", "categorise", analyses=notes, brief=self._brief, feedback="", **counted)

    @cached_property
    def strategise(self) -> float:
        """The prompt for one strategy."""
        named = {"name": NOTE[:40], "pattern": NOTE, "features": self._features}
        return self._size("analyze_patterns", "strategise", brief=self._brief, feedback="", **named)

    def write(self, branch: str, again: bool, together: float, rows: float) -> list[tuple[float, float]]:
        """The calls that write a batch of `rows`: tokens of the prompt, and of one row in the reply.

        `again`: with what to mend, and what was let in so far of all rows that are written `together`, against one pattern.
        """
        if self._from_row:
            return [self._written_from_row(self._from_row, again, rows)]
        kinds = {"covered": self._features, "lacking": [], "share": NOTE[:10] if self._compose and branch == "pattern" else ""}
        fixed = {"examples": [], "errors": [], "avoid": [], "refused": [{"sample": "", "reason": NOTE}] if again else []}
        told = {"strategy": self._strategy if branch == "pattern" else "", "focus": "", "feedback": NOTE if again else ""}
        variables = {**fixed, **told, "kinds": kinds, "count": 5, "compose": self._compose, "answers": []}
        variables |= {"shapes": self._first.shapes if self._first else "", "kept": self._form.kept}
        refused = again * rows * (self._reply + self._reason)
        shown = refused + again * min(WRITTEN_SHOWN, MISSING * together) * self._written_question
        if branch == "error":
            answer = fmean(token_count(f"It wrote this, which is wrong: {i['reference']}\n") for i in self._shown)
            shown += self._shots * (self._row + answer)
        if self._first is None:
            return [(shown + self._shots * self._sample + self._size("generate_data", branch, **variables), self._reply)]
        asked = self._shots * self._sample + rows * (self._answer + token_count(NOTE))
        return [
            (shown + self._shots * self._answer + self._size("generate_data", "answers", **variables), self._answer),
            (refused + asked + self._size("generate_data", "questions", **variables), self._question),
        ]

    def _written_from_row(self, method: FromRow, again: bool, rows: float) -> tuple[float, float]:
        """As `write`."""
        if again not in self._row_prompts:
            told: dict[str, Any] = {"refused": [{"sample": "", "reason": NOTE}] if again else [], "count": 2}
            told |= {"feedback": NOTE if again else "", "kept": self._form.kept}
            shown = [method.shown(self._task, origin) for origin in self._origins(method)]
            self._row_prompts[again] = fmean(self._size("generate_data", method.prompt, **told, **own) for own in shown)
        return self._row_prompts[again] + again * rows * (self._reply + self._reason), self._reply

    def _origins(self, method: FromRow) -> list[Origin]:
        """The rows as what is written from, with what is shown beside them if every second one is wrong."""
        rows = {f"{i:03}": fields for i, fields in enumerate(self._chosen)}
        train = TrainingRows(self._task, rows, list(rows)[::2])
        beside = {i: [rows[other] for other in method.beside(i, train, self._shots)] for i in rows}
        return [Origin(fields, self._task.reference(fields), beside[i]) for i, fields in rows.items()]

    def judge(self, branch: str, rows: float, trained: bool = False) -> float:
        """The prompt for a batch of `rows`; `trained`: of training rows, which may be longer than what a teacher writes."""
        strategy = self._strategy if branch == "pattern" else ""
        row = self._row if trained else self._written_row
        together = self._size("control_quality", "judge", strategy=strategy, items=[], parents=[], asked=5)
        solved = SOLVED if self._control.solutions and not trained else 0
        return together + rows * (row + self._gave + solved) + self._shots * self._row

    @cached_property
    def _gave(self) -> float:
        """What running an answer gave."""
        gave = (self._task.gives(i["reference"]) for i in self._shown)
        return fmean(token_count(f"   Running the answer gave: {text}\n") if text else 0 for text in gave)

    @cached_property
    def _reason(self) -> float:
        """Why a row was refused."""
        answer = fmean(token_count(i["reference"]) for i in self._shown)
        both = DOUBTFUL * 2 * (answer + self._gave) if self._control.solutions else 0
        return token_count(NOTE) + both

    @cached_property
    def solve(self) -> float:
        """The prompt that solves one row."""
        form = [{"name": name, "description": f.description} for name, f in self._task.Solved.model_fields.items()]

        def size(fields: Fields) -> float:
            instructions, prompt = system_and_chat(self._task.messages(fields))
            given = {"instructions": instructions, "prompt": prompt, "labels": self._task.options_of(fields), "form": form}
            examples = [{"prompt": prompt, "answer": self._task.reference(fields)}] * self._control.solve_shots
            return self._size("control_quality", "solve", **given, examples=examples)

        return fmean(size(f) for f in self._chosen)

    def score(self, alone: bool = False) -> float:
        """The prompt that scores one answer, as long as a right one; `alone`: without a right one beside it."""

        def size(fields: Fields) -> float:
            right = [] if alone else self._task.references(fields)
            return self._scored("score", fields, references=right, answer=self._task.reference(fields))

        return fmean(map(size, self._chosen))

    @cached_property
    def compare(self) -> float:
        """The prompt that compares two answers."""
        both = ((f, self._task.reference(f)) for f in self._chosen)
        return fmean(self._scored("compare", f, first=answer, second=answer) for f, answer in both)

    def _scored(self, prompt: str, fields: Fields, **answers: Any) -> float:
        asked = {"rubric": self._task.rubric, "mark": "==0123456789abcdef==", "prompt": self._task.shown(fields)}
        return self._size("score_answers", prompt, **asked, **answers)

    @cached_property
    def solution(self) -> float:
        """Tokens of a solver's reply."""
        answers = ("A" if self._task.options_of(f) else self._task.target(f) for f in self._chosen)
        return WORK + fmean(map(token_count, answers))

    def _mean(self, stage: str, prompt: str, variables: Callable[[Mapping[str, str]], dict[str, Any]]) -> float:
        return fmean(self._size(stage, prompt, **variables(i)) for i in self._shown)

    def _size(self, stage: str, prompt: str, /, **variables: Any) -> float:
        return _tokens(self._task.prompts.render(stage, prompt, task=self._task.description, **variables))


def _written(task: Task, fields: Fields) -> Fields:
    """A training row as a teacher would have written it, e.g. with less context; itself if a teacher could not."""
    try:
        return task.fields_of(task.sample_of(fields), fields)
    except InputError:
        return fields


def _row_tokens(task: Task, fields: Fields) -> int:
    """In a list of questions and answers."""
    return token_count(f"1. Question: {task.question(fields)}\n   Answer: {task.reference(fields)}\n")


def _tokens(messages: Sequence[Message]) -> int:
    return sum(token_count(m["content"]) + CHAT for m in messages)
