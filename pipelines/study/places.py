"""One task at one training size: which model stands for which row of the tables, and what each answered."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pada_agent.pipelines.study.outcomes import REPORTED, STEP_MATCHED, UNTUNED, VANILLA, CellFacts, ModelFacts, StudyFacts
from pada_agent.pipelines.study.statistics.crossed import Scores

MATCHED = "step-matched vanilla"
SHIPPED = "shipped"
Models = Mapping[int, ModelFacts]  # by seed


@dataclass(frozen=True)
class Place:
    """A task at a regime."""

    study: StudyFacts
    task: str
    regime: int

    @cached_property
    def cells(self) -> dict[str, dict[int, CellFacts]]:
        """By method and seed."""
        found: dict[str, dict[int, CellFacts]] = {name: {} for name in (VANILLA, *self.study.methods)}
        for cell in self.study.cells:
            if (cell.task, cell.regime) == (self.task, self.regime) and cell.method in found:
                found[cell.method][cell.seed] = cell
        return found

    def before(self, name: str) -> Models:
        """The untuned or the vanilla model."""
        return {seed: model for seed, cell in self.cells[VANILLA].items() if (model := cell.model(name))}

    def last(self, method: str) -> Models:
        """The method's last iteration; vanilla where it trained none."""
        return self._of(method, {seed: cell.iterations[-1].name for seed, cell in self.cells[method].items() if cell.iterations})

    def matched(self, method: str) -> Models:
        """Vanilla for as many steps as the method's last iteration had."""
        return self._of(method, dict.fromkeys(self.cells[method], STEP_MATCHED))

    def shipped(self, method: str) -> Models:
        """What the method's run would ship."""
        return self._of(method, {seed: cell.shipped for seed, cell in self.cells[method].items()})

    def _of(self, method: str, names: Mapping[int, str]) -> Models:
        start = self.before(VANILLA)
        return {
            seed: cell.model(names.get(seed, "")) or start[seed] for seed, cell in self.cells[method].items() if seed in start
        }

    def rows(self) -> Iterator[tuple[str, Models]]:
        """The rows of the tables; the step-matched one is that of the first method."""
        study = self.study
        table = {UNTUNED: self.before(UNTUNED), VANILLA: self.before(VANILLA), MATCHED: self.matched(study.methods[0])}
        table |= {method: self.last(method) for method in study.methods}
        table |= {f"{method}, {SHIPPED}": self.shipped(method) for method in study.methods}
        yield from ((name, models) for name, models in table.items() if models)

    def pairs(self) -> Iterator[tuple[str, str, Models, Models]]:
        """Each method against its own step-matched vanilla and against vanilla, the first one against all others too."""
        first, *others = self.study.methods
        for method in self.study.methods:
            baselines = {MATCHED: self.matched(method), VANILLA: self.before(VANILLA)}
            baselines |= {other: self.last(other) for other in others} if method == first else {}
            for name, models in baselines.items():
                if self.last(method).keys() & models.keys():
                    yield method, name, self.last(method), models

    def asks(self, method: str, baseline: str) -> bool:
        """Whether the study is about this pair: the first method against training for as many steps, or against another one."""
        return method == self.study.methods[0] and baseline != VANILLA

    def steered(self) -> Iterator[tuple[str, dict[int, Models]]]:
        """Each method's models by iteration, from the start on: those that were evaluated on validation rows."""
        for method in self.study.methods:
            found: dict[int, dict[int, ModelFacts]] = {}
            for seed, cell in self.cells[method].items():
                for number, model in enumerate([self.before(VANILLA)[seed], *cell.iterations]):
                    found.setdefault(number, {})[seed] = model
            yield method, dict(found)

    def scores(self, models: Models, split: str = REPORTED) -> Scores:
        """What the models' answers score, right (1) and wrong (0) or by grade, by seed and row."""
        ids = self.study.tasks[self.task].rows[split].ids
        return {seed: dict(zip(ids, model.scores(split), strict=True)) for seed, model in models.items()}

    @cached_property
    def groups(self) -> dict[str, str]:
        """Of each held-out row that has one."""
        facts = self.study.tasks[self.task]
        return {
            row: group for rows in facts.rows.values() if rows.groups for row, group in zip(rows.ids, rows.groups, strict=True)
        }

    def notes(self) -> Iterator[str]:
        """What a reader of the numbers must know."""
        for method in self.study.methods:
            for _, cell in sorted(self.cells[method].items()):
                if not cell.iterations:
                    yield f"{cell.name}: no iteration was trained ({cell.ended}); vanilla stands in for it."
        if self.study.tasks[self.task].graded and self.regime == min(self.study.regimes[self.task]):
            yield f"{self.task}: its answers are graded: models are compared by their mean score, with permutation tests."
        for cell in list(self.cells[VANILLA].values())[:1]:
            if cell.train_rows < self.regime:
                yield f"{self.task}: it has {cell.train_rows} training rows; {self.regime} were asked for."
