"""Predictions that other evaluators wrote, read as this project's own: lm-eval's, Inspect's, and plain files.

Where a file has verdicts of 0 or 1 they hold. Where it has none, or graded ones alone, the task scores the output.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign.answered import Answered
from pada_agent.components.core.foreign.inspect_log import of_inspect
from pada_agent.components.core.foreign.known_rows import KnownRow, KnownRows, Split
from pada_agent.components.core.foreign.lm_eval import of_lm_eval
from pada_agent.components.core.foreign.plain import of_plain
from pada_agent.components.core.records import Fields, Prediction, Score
from pada_agent.components.core.tasks.task import CodeRunner, Task
from pada_agent.components.core.tasks.turns import system_and_chat

ANALYSED_SPLITS: tuple[Split, ...] = ("train", "validation")
_NO_ANSWER = ("", "[invalid]", "[no answer]")  # lm-eval's regex filters give the second


@dataclass
class Reading:
    """What was read: how many rows the task scored, and how many have no answer because their sample broke off."""

    predictions: list[Prediction] = field(default_factory=list)
    scored_here: int = 0
    unanswered: int = 0


@dataclass(frozen=True)
class Reader:
    """Reads the files of one evaluation. `run_code` is for tasks that score by running."""

    task: Task
    run_code: CodeRunner
    known: KnownRows

    def read(self, rows: Iterable[tuple[str, Fields]], split: Split) -> Reading:
        """The predictions in `rows`, given with their places.

        A second output or verdict for a row, with another filter or epoch, is a secondary metric. Rows of different subtasks may
        have one id. Raises InputError that names the line: no output, fields that are not the task's, a row that comes twice.
        """
        found = [_answered(where, raw) for where, raw in rows]
        answered = [a for a in found if a]
        reading = Reading(unanswered=len(found) - len(answered))
        verdicts = _verdict_names(answered)
        firsts: dict[tuple[str, str], tuple[int, str]] = {}
        ids: set[str] = set()
        for number, a in enumerate(answered, 1):
            prediction = self._prediction(a, split, verdicts[tuple(a.metrics)], number)
            key = (a.id or prediction.id, a.row)
            if key in firsts:
                self._join(reading.predictions, *firsts[key], a, prediction)
                continue
            name = next(n for n in _names(prediction.id) if n not in ids)
            ids.add(name)
            firsts[key] = len(reading.predictions), a.run
            reading.predictions.append(prediction.model_copy(update={"id": name}))
            reading.scored_here += not verdicts[tuple(a.metrics)]
        return reading

    def _join(self, predictions: list[Prediction], at: int, first_run: str, a: Answered, again: Prediction) -> None:
        first = predictions[at]
        if a.run in ("", first_run, *first.score.extra):
            raise InputError(f"{a.where}: id '{a.id or again.id}' comes twice" + (f" ({a.run})" if a.run else ""))
        extra = {**first.score.extra, a.run: float(again.score.correct)}
        predictions[at] = first.model_copy(update={"score": first.score.model_copy(update={"extra": extra})})

    def _prediction(self, a: Answered, split: Split, verdict: str, number: int) -> Prediction:
        row = self._row(a, split)
        return Prediction(
            id=a.id or row.id or f"{split}-{number}",
            split=row.split,
            prompt=a.prompt or system_and_chat(self.task.messages(row.fields))[1],
            output=a.output,
            reference=a.reference or self.task.reference(row.fields),
            score=self._theirs(a, verdict) if verdict else self._ours(a, row.fields),
            group=row.group,
            fields=row.fields,
        )

    def _row(self, a: Answered, split: Split) -> KnownRow:
        problem = ""
        for source in a.sources:
            try:
                return KnownRow("", split, self.task.read(source), self.task.group(source))
            except InputError as e:
                problem = str(e)
        if row := self.known.find(a.id, a.prompt, a.question):
            return row
        missing = (
            "and none of the task's rows has its id or its prompt"
            if self.known
            else "give the row's fields in it or under 'fields', or name the rows that were asked as task.validation"
        )
        raise InputError(f"{a.where}: not a row of task {self.task.name}: {problem}; {missing}")

    def _theirs(self, a: Answered, verdict: str) -> Score:
        correct = bool(a.metrics[verdict])
        predicted = (a.output if a.extracted is None else a.extracted).strip()
        extra = {name: value for name, value in a.metrics.items() if name != verdict}
        return Score(
            correct=correct, valid=correct or predicted not in _NO_ANSWER, predicted=predicted, detail=a.detail, extra=extra
        )

    def _ours(self, a: Answered, fields: Fields) -> Score:
        """By the task: what the evaluator extracted if that can be scored, else the whole output."""
        labels = self.task.options_of(fields)
        chosen = labels[a.option] if a.option is not None and a.option < len(labels) else a.extracted
        texts = [text for text in (chosen, a.output) if text is not None and text not in _NO_ANSWER]
        scores = [self.task.score(fields, text, self.run_code) for text in texts or [""]]
        score = next((s for s in scores if s.valid), scores[-1])
        return score.model_copy(update={"extra": {**score.extra, **a.metrics}})


def _names(identity: str) -> Iterator[str]:
    """The id, then with numbers: rows of several subtasks may have one."""
    yield identity
    yield from (f"{identity}-{n}" for n in count(2))


def _answered(where: str, raw: Fields) -> Answered | None:
    try:
        if "resps" in raw:
            return of_lm_eval(raw, where)
        if {"epoch", "target", "scores"} <= raw.keys():
            return of_inspect(raw, where)
        return of_plain(raw, where)
    except InputError as e:
        raise InputError(f"{where}: {e}") from e


def _verdict_names(answered: Sequence[Answered]) -> dict[tuple[str, ...], str]:
    """By the metrics that rows have: the first that is 0 or 1 in all of them, '' if there is none and the task must score.

    Not row by row: a graded metric happens to be 1 at times.
    """
    by_names: dict[tuple[str, ...], list[Answered]] = {}
    for a in answered:
        by_names.setdefault(tuple(a.metrics), []).append(a)
    return {
        names: next((name for name in names if all(a.metrics[name] in (0, 1) for a in rows)), "")
        for names, rows in by_names.items()
    }
