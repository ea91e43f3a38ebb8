"""What a call shows the teacher: the variables of its prompts."""

from collections.abc import Sequence
from typing import Any

from pada_agent.components.core.quality.rules import QUESTION_SHOWN, shortened
from pada_agent.components.core.records import Batch, Fields, SyntheticRow
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.answer_first import AnswerFirst
from pada_agent.components.core.tasks.sample_form import SampleForm
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.generate_data.batches import Sources
from pada_agent.components.generate_data.kinds import KindsWritten

AVOID_SHOWN = 8
NOT_NEW = "it is not new"
UNTOLD = {"leak", "not judged"}  # that a row overlaps with held-out text must not be told; nor is an LLM's silence its fault


def told(task: Task, batch: Batch, form: SampleForm) -> dict[str, Any]:
    """What every prompt names: the task, how many rows are missing, and what was wrong with the last try."""
    last = [s for s in batch.samples if s.status == "rejected" and s.row.provenance.attempt == batch.attempt - 1]
    return {
        # Not by batch: what a strategy's batches have in common is the beginning of the prompt, which servers keep.
        "task": task.describe(f"{batch.strategy_id}/{batch.attempt}"),
        "refused": [
            {
                "sample": form.of(s.row.fields).model_dump_json(),
                "reason": NOT_NEW if s.kind == "not new" else s.reason,
            }
            for s in last
            if s.kind not in UNTOLD
        ],
        "feedback": batch.feedback,
        "count": batch.missing,
        "kept": form.kept,
    }


class Shown:
    """Fills the prompts of one link that follows a plan."""

    def __init__(
        self,
        sources: Sources,
        settings: GenerateSettings,
        form: SampleForm,
        batches: Sequence[Batch],
        first: AnswerFirst | None,
    ) -> None:
        self._task, self._settings, self._form, self._first = sources.task, settings, form, first
        self._train = {r.id: r.fields for r in sources.train}
        self._strategies = {s.id: s for s in sources.strategies}
        self._errors = {e.id: e for e in sources.errors}
        self._kinds = KindsWritten(sources.task, sources.train, batches)
        self._written: dict[str, list[str]] = {}  # accepted questions by strategy; '' is the error branch
        for b in batches:
            self._written.setdefault(b.strategy_id, []).extend(map(self._asked, b.accepted))

    def variables(self, batch: Batch) -> dict[str, Any]:
        """All that prompts name, of an open batch."""
        strategy = self._strategies.get(batch.strategy_id)
        errors = [self._errors[i] for i in batch.seed_ids] if strategy is None else []
        return {
            **told(self._task, batch, self._form),
            "strategy": strategy.text if strategy else "",
            "focus": batch.focus,
            "errors": [{"question": self._task.question(e.fields), "output": e.output, "reference": e.reference} for e in errors],
            "examples": self._examples(batch),
            "shapes": self._first.shapes if self._first else "",
            "avoid": self._written.get(batch.strategy_id, [])[-AVOID_SHOWN:],
            "kinds": self._kinds.of(batch, strategy) if strategy else {"covered": [], "lacking": [], "share": ""},
            "compose": self._settings.freedom == "compose",
        }

    def seed(self, batch: Batch) -> Fields:
        """The first training row that the batch shows."""
        return self._train[batch.seed_ids[0]]

    def whole_examples(self, batch: Batch) -> list[str]:
        """The training rows of a batch as a teacher would write them, question and answer."""
        return [self._task.sample_of(self._train[i]).model_dump_json() for i in batch.seed_ids]

    def _examples(self, batch: Batch) -> list[str]:
        if self._first is None:
            return self.whole_examples(batch)
        return [self._first.answer_of(self._train[i]).model_dump_json() for i in batch.seed_ids]

    def _asked(self, row: SyntheticRow) -> str:
        text = self._form.of(row.fields).model_dump_json() if self._form.kept else self._task.question(row.fields)
        return shortened(text, QUESTION_SHOWN)
