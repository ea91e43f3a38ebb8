"""Answers without one right wording, which an LLM scores by a rubric after all are there (score_answers).

    scorer: judge
    rubric: rubric.md                 # or the text itself
    threshold: 0.75                   # of scores from 1 to 5, brought to 0 to 1: a lower one is a failure

Nothing is asked here: the score of an answer is pending, that of an empty one is 0.
"""

import re
from pathlib import Path

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.scorers.options import ScorerOptions
from pada_agent.components.core.tasks.scorers.scorer import Finding
from pada_agent.components.core.tasks.task import CodeRunner

RUBRIC = "rubric.txt"  # among the data's assets
_OPTION = "task.options.rubric"
_FILE = re.compile(r"\S.*\.(txt|md)")


class Judge(Finding):
    """Has the rubric, read from `assets`, where its file went with the data, if they are given."""

    def __init__(self, options: ScorerOptions, assets: Path | None = None) -> None:
        """Raises InputError for a file that cannot be read or is empty."""
        super().__init__(options, assets)
        self.rubric = options.rubric.strip()
        if address := rubric_file(options.rubric):
            self.rubric = _text(assets / RUBRIC if assets else Path(address), address)
        if not self.rubric:
            raise InputError(f"{_OPTION}: is empty; say what makes an answer good")

    def assets(self) -> dict[str, str]:
        return {RUBRIC: self.rubric} if rubric_file(self.options.rubric) else {}

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        score = super().score(fields, output, run_code)
        return score if score.valid else score.model_copy(update={"grade": 0.0})

    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        return Score(correct=False, valid=True, predicted=found, pending=True)


def rubric_file(rubric: object) -> str:
    """The address of the file that the option names; '' where it is the text itself."""
    return rubric if isinstance(rubric, str) and _FILE.fullmatch(rubric) else ""


def _text(file: Path, address: str) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as e:
        raise InputError(f"{_OPTION}: {address}: cannot be read ({e.strerror}); give the address of a text file") from e
    except UnicodeDecodeError as e:
        raise InputError(f"{_OPTION}: {address}: not UTF-8 text; save it as UTF-8") from e
