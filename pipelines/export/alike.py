"""Does what was exported answer like the adapter? Asked of the same validation rows, and scored by the task.

Why half of the answers must be equal, letter by letter: two programs that compute the same model in bfloat16 were measured to
give the same text to two thirds of SQuAD's rows at the worst, since rounding decides between nearly equal words, and fewer bits
round more. Without its adapter a model gave none of its text-to-SQL answers (0 of 1000); with another one for the same task 58
to 70 %, which is why right answers are counted too: significantly fewer than the adapter's own are refused whatever is equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.figures import percent
from pada_agent.components.core.records import HeldOutRow
from pada_agent.components.core.slm_interface import Prompt
from pada_agent.components.core.statistics import paired_test
from pada_agent.pipelines.export.source import Source

ROWS = 50
LEAST = 0.5
Right = Mapping[str, bool]  # by row id; empty where an LLM would have to say it
LEVEL = 0.01  # of the test for fewer right answers


@dataclass(frozen=True)
class Alike:
    """Of `rows` answers, how many are `equal` to those of `what`, the adapter or the model, and how many of either are right.

    The latter is None where an LLM would have to say it.
    """

    rows: int
    equal: int
    right: int | None
    right_before: int | None
    what: str = "adapter"

    @property
    def share(self) -> float:
        """Equal answers over all, 0 to 1."""
        return self.equal / self.rows

    def __str__(self) -> str:
        right = "" if self.right is None else f"; right: {self.right}, of the {self.what}'s: {self.right_before}"
        own = f"{self.equal} of {self.rows} answers are the {self.what}'s own ({percent(self.share, 0)})"
        return f"{own}{right}".replace("\u00a0", " ")


def judge(
    form: str, before: tuple[Sequence[str], Right], after: tuple[Sequence[str], Right], least: float, what: str = "adapter"
) -> Alike:
    """Compare answers, each list with which rows are right. Raises ModelError if fewer than `least` are equal, or fewer right."""
    pairs = list(zip(before[0], after[0], strict=True))
    equal = sum(one.strip() == other.strip() for one, other in pairs)
    right, right_before = (sum(known.values()) if known else None for _, known in (after, before))
    found = Alike(len(pairs), equal, right, right_before, what)
    if paired_test(after[1], before[1]).p_better < LEVEL:
        raise ModelError(f"{form}: answers fewer rows rightly than the {what}, by more than chance, so it was not kept: {found}")
    if found.share < least:
        raise ModelError(
            f"{form}: does not answer like the {what}, so it was not kept: {found}; {percent(least, 0)} must be equal "
            "(--least-equal says otherwise)".replace("\u00a0", " ")
        )
    return found


class Comparison:
    """The rows, and what the adapter, or the model in its place, answers to them."""

    def __init__(self, source: Source) -> None:
        """Asks it. Raises InputError for a run without validation rows, ModelError where it cannot be loaded."""
        from pada_agent.components.backends.slm.formats.answering import answers

        self._source = source
        self._rows: Sequence[HeldOutRow] = source.validation_rows()[:ROWS]
        self.prompts = [Prompt(id=row.id, messages=source.task.messages(row.fields)) for row in self._rows]
        self.most = source.settings.evaluate.max_new_tokens or source.task.max_new_tokens
        found = answers(source.slm, source.adapter, self.prompts, self.most)
        self._before, self.context = found.texts, found.context

    def check(self, form: str, answers: Sequence[str], least: float) -> Alike:
        """How alike these answers are. Raises ModelError as `judge` does."""
        before, after = ((texts, self._right(texts)) for texts in (self._before, answers))
        return judge(form, before, after, least, "model" if self._source.exported.is_whole else "adapter")

    def _right(self, answers: Sequence[str]) -> dict[str, bool]:
        task, run_code = self._source.task, self._source.run_code
        if task.rubric:
            return {}
        return {row.id: task.score(row.fields, a, run_code).correct for row, a in zip(self._rows, answers, strict=True)}
