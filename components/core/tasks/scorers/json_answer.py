"""A JSON answer, by its fields: the order of keys is free, 1 and 1.0 are one number, a field that is null may be left out.

Where the row's own answer is tool calls, they are compared by name and arguments, in any order, whatever shape they have.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, field_validator

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.columns import text_of
from pada_agent.components.core.tasks.scorers.f1 import word_f1
from pada_agent.components.core.tasks.scorers.json_values import Call, Unreadable, all_calls, answer, calls, parsed, values
from pada_agent.components.core.tasks.scorers.scorer import Scorer
from pada_agent.components.core.tasks.scorers.words import squad_words
from pada_agent.components.core.tasks.task import CodeRunner, Solution

TOLD = 3  # differences in the reason why an answer is wrong
SHOWN = 60  # characters of a value in it


def as_text(value: Any) -> Any:
    """A value that stands where a text of JSON should: the text. Others are left."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | int | float) else value


class JsonSolution(Solution):
    """What a solver writes."""

    @field_validator("answer", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return as_text(value)


class Json(Scorer):
    """The row's answer is text of JSON, or a value that is kept as such."""

    answer_type: Any = Annotated[str, BeforeValidator(as_text)]
    Solved: ClassVar[type[Solution]] = JsonSolution

    def read(self, raw: Fields, key: str) -> Fields:
        value = raw.get(key)  # a list is one answer here
        return {"answer": text_of(raw, key) if value is None else as_text(value), "choices": []}

    def complaint(self, fields: Fields) -> str:
        try:
            found = calls(parsed(fields["answer"]))
        except Unreadable as e:
            return f"'{fields['answer'][:SHOWN]}' is not JSON ({e})"
        return "has no tool call in it" if found == [] else ""

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        gold = parsed(fields["answer"])
        wanted = calls(gold)
        try:
            own = answer(output) if wanted is None else all_calls(output)
        except Unreadable as e:
            return Score(correct=False, valid=False, detail=str(e) if output.strip() else "empty")
        told = list(self._differences(gold, own, "") if wanted is None else self._of_calls(wanted, own))
        more = f"; {len(told) - TOLD} more" if len(told) > TOLD else ""
        return Score(correct=not told, valid=True, predicted=_shown(own), detail="; ".join(told[:TOLD]) + more)

    def unusable(self, answer: str) -> str:
        if empty := super().unusable(answer):
            return empty
        try:
            values(answer)
        except Unreadable as e:
            return f"is not JSON ({e})"
        return ""

    def _of_calls(self, gold: list[Call], own: list[Call]) -> Iterator[str]:
        """Each call of the row is met by one of the same name and arguments."""
        left, unmet = list(own), []
        for call in gold:
            met = next((i for i, other in enumerate(left) if not any(self._differences(call, other, ""))), None)
            if met is None:
                unmet.append(call)
            else:
                del left[met]
        for call in unmet:
            near = next((i for i, other in enumerate(left) if other["name"] == call["name"]), None)
            if near is None:
                yield f"does not call {call['name']}"
            else:
                yield f"{call['name']}: " + ", ".join(list(self._differences(call, left.pop(near), ""))[:TOLD])
        yield from (f"calls {call['name']}, which is not asked for" for call in left)

    def _differences(self, gold: Any, own: Any, path: str) -> Iterator[str]:
        if not self._counts(path):
            return
        if isinstance(gold, dict) and isinstance(own, dict):
            for key in [*gold, *(key for key in own if key not in gold)]:
                yield from self._differences(gold.get(key), own.get(key), f"{path}.{key}" if path else key)
        elif isinstance(gold, list) and isinstance(own, list) and len(gold) == len(own):
            for one, other in zip(gold, own, strict=True):
                yield from self._differences(one, other, path)
        elif not self._equal(gold, own, path):
            what = f"{path}: " if path else ""
            if gold is None or own is None:
                yield f"'{path}' is missing" if own is None else f"'{path}' is not asked for"
            elif isinstance(gold, list) and isinstance(own, list):
                yield f"{what}{len(own)} items instead of {len(gold)}"
            else:
                yield f"{what}{_shown(own)} instead of {_shown(gold)}"

    def _counts(self, path: str) -> bool:
        """Whether a field counts, or some in it may."""
        if _within(path, self.options.ignored):
            return False
        wanted = self.options.fields
        return not wanted or not path or _within(path, wanted) or any(name.startswith(f"{path}.") for name in wanted)

    def _equal(self, gold: Any, own: Any, path: str) -> bool:
        if isinstance(gold, str) and isinstance(own, str) and _within(path, self.options.free_text):
            words = squad_words(own), squad_words(gold)
            return gold == own or word_f1(*words) >= self.options.threshold
        if isinstance(gold, bool) or isinstance(own, bool):
            return gold is own
        if isinstance(gold, int | Decimal) and isinstance(own, int | Decimal):
            return gold == own
        return type(gold) is type(own) and bool(gold == own)


def _within(path: str, names: list[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _shown(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False, default=float, sort_keys=True)
    text = written.encode(errors="replace").decode()  # half a surrogate pair
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
