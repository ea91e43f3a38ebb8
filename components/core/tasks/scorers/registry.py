"""Finds a scorer by name."""

from pathlib import Path

from pada_agent.components.core.tasks.scorers.choice import Choice
from pada_agent.components.core.tasks.scorers.exact import Exact
from pada_agent.components.core.tasks.scorers.f1 import F1
from pada_agent.components.core.tasks.scorers.json_answer import Json
from pada_agent.components.core.tasks.scorers.judge import Judge
from pada_agent.components.core.tasks.scorers.labels import Labels
from pada_agent.components.core.tasks.scorers.numeric import Numeric
from pada_agent.components.core.tasks.scorers.options import ScorerOptions
from pada_agent.components.core.tasks.scorers.python import Python
from pada_agent.components.core.tasks.scorers.regex import Regex
from pada_agent.components.core.tasks.scorers.rouge import Rouge
from pada_agent.components.core.tasks.scorers.scorer import Scorer

SCORERS: dict[str, type[Scorer]] = {
    "exact": Exact,
    "multiple_choice": Choice,
    "numeric": Numeric,
    "regex": Regex,
    "python": Python,
    "f1": F1,
    "rouge": Rouge,
    "json": Json,
    "judge": Judge,
}


def load_scorer(options: ScorerOptions, assets: Path | None) -> Scorer:
    """The scorer that the options name. Raises InputError where a file of its own cannot be read."""
    return (Labels if options.labels else SCORERS[options.scorer])(options, assets)
