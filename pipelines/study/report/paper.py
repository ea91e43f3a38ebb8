"""What the paper reports, and where it may stand beside a study's own numbers: same task, training size and base model."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import yaml

from pada_agent.components.core.records import Record
from pada_agent.pipelines.study.outcomes import StudyFacts, TaskFacts, regime_name


class Paper(Record):
    """paper.yaml. Percent."""

    source: str
    slm: str
    tasks: dict[str, str]
    methods: dict[str, str]
    accuracy: dict[int, dict[str, dict[str, float]]]
    averaged_over: list[str]
    averaged: dict[int, dict[str, float]]
    full_method: dict[str, float]

    def comparable(self, facts: TaskFacts, regime: int) -> bool:
        """Whether the paper has this task with this base model and training size."""
        return facts.kind in self.tasks and self.same_model(facts) and regime in self.accuracy

    def same_model(self, facts: TaskFacts) -> bool:
        """Whether the base model is the paper's, wherever it was loaded from."""
        return facts.slm.rstrip("/").rpartition("/")[2].lower() == self.slm.lower()

    def accuracy_of(self, facts: TaskFacts, regime: int, method: str) -> float | None:
        """A cell of Table 1; None where the setting is another or the cell could not be obtained."""
        if not self.comparable(facts, regime):
            return None
        return self.accuracy[regime].get(facts.kind, {}).get(method)

    def averaged_gain(self, study: StudyFacts, regime: int, method: str) -> float | None:
        """A cell of the column "Averaged", for a study of just the tasks that it is over."""
        same = sorted(facts.kind for facts in study.tasks.values()) == sorted(self.averaged_over)
        if not same or not all(self.comparable(facts, regime) for facts in study.tasks.values()):
            return None
        return self.averaged.get(regime, {}).get(method)

    def beside(self, study: StudyFacts) -> Iterator[str]:
        """Sentences: which of its numbers stand beside the study's, and why others do not."""
        named = {name: self.tasks.get(facts.kind, "") for name, facts in study.tasks.items()}
        if foreign := [name for name, there in named.items() if not there]:
            yield f"Not a task of the paper: {', '.join(foreign)}."
        for name, facts in study.tasks.items():
            if named[name] and not self.same_model(facts):
                ours = facts.slm or "a base model that was not recorded"
                yield f"{name}: the paper fine-tuned {self.slm}, this study {ours}; its numbers are not set beside ours."
        same = {name for name, facts in study.tasks.items() if named[name] and self.same_model(facts)}
        for name in sorted(same):
            if others := [regime_name(r) for r in study.regimes.get(name, []) if r not in self.accuracy]:
                yield f"{name}: the paper has no training size {', '.join(others)}; it has {', '.join(map(str, self.accuracy))}."
        if any(self.comparable(study.tasks[name], r) for name in same for r in study.regimes.get(name, [])):
            yield "The paper's numbers are of one run each, without intervals, and of other test rows; those that could not be"
            yield f"obtained are missing. {self.source}."
            if sorted(facts.kind for facts in study.tasks.values()) != sorted(self.averaged_over):
                over = ", ".join(self.tasks[task] for task in self.averaged_over)
                yield f"Its averaged gain is over {over}; this study has other tasks, so it is not set beside ours."


@cache
def paper() -> Paper:
    """The paper's numbers."""
    text = files("pada_agent.pipelines.study.report").joinpath("paper.yaml").read_text(encoding="utf-8")
    return Paper.model_validate(yaml.safe_load(text))
