"""The letter of an option, which `answer` names as a letter, a number from 0, or the option's text."""

from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.columns import options_in
from pada_agent.components.core.tasks.multiple_choice import LETTERS, letter_of, score_letter
from pada_agent.components.core.tasks.scorers.scorer import Scorer
from pada_agent.components.core.tasks.task import CodeRunner


class Choice(Scorer):
    """`choices` are the options' texts, `answer` is the letter."""

    def read(self, raw: Fields, key: str) -> Fields:
        options = options_in(raw, raw.get(key), self.options.choices)
        if not 2 <= len(options.texts) <= len(LETTERS) or not all(options.texts):
            name = self.options.choices or "choices"
            raise InputError(f"{name}: must be a list of two to {len(LETTERS)} options, none of them empty")
        return {"answer": _letter(options.texts, options.key, key), "choices": options.texts}

    def complaint(self, fields: Fields) -> str:
        return ""

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        return score_letter(fields["choices"], fields["answer"], output)


def _letter(choices: list[str], key: Any, name: str) -> str:
    """The letter for an answer given as text, letter or number from 0, in this order."""
    if choices.count(str(key)) == 1:
        return LETTERS[choices.index(str(key))]
    try:
        return letter_of(LETTERS[: len(choices)] if isinstance(key, str) and key.isalpha() else range(len(choices)), key)
    except InputError as e:
        raise InputError(f"{name}: {e}") from e
