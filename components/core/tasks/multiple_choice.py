"""What tasks with lettered options have in common: asking, reading the letter, writing new items.

    {"question": "Which gas do plants take in?", "options": ["oxygen", "helium", "carbon dioxide"], "answer": "C"}

The output is read in three steps: the last "answer is X", then a letter that leads the output, then the only letter in
it. An output without any of them has no answer. The wording and the order are those of lm-evaluation-harness' chat prompts;
they must stay the same for all methods that are compared. A letter in an option's own words, as in "A dog runs" and "28°C", is
none: read as one it would turn 2 % of the option texts of ARC and HellaSwag into answers, most of them A.
"""

import random
import re
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.task import CodeRunner, Message

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
USUAL = 5  # options, of most data; with fewer a letter up to E is read all the same, and is then none of theirs
INSTRUCTION = "Reply with the letter of the best option in this form: The best answer is X."

_OPENS, _CLOSES = r"[\s*_\"'(\[]*", r"[*_\"')\]]*"
_NAMED = r"(?<!ption )(?<!hoice )(?<!etter )(?<!nswer )"
_A = r"A(?= (?!(?:is|was|and|or|as|because|since|seems|would)\b)[a-z])"
_I = r"I(?=['’][a-z]| (?!(?:is|was)\b)[a-z])"
_LISTS_OPTIONS = re.compile(r"(?s)\bA[.)]\s.*\bB[.)]\s")


class _Patterns:
    """How letters from A to `last` are found."""

    def __init__(self, last: str) -> None:
        small, large = f"[a-{last.lower()}]", f"[A-{last}]"
        # A small letter counts where nothing but the sentence's end follows: "the answer is a dog" names no option.
        alone = rf"{small}(?={_CLOSES}[ \t]*(?:\.(?!\w)|$))"
        self.stated = re.compile(rf"(?i:answer\s+is)\s*:?{_OPENS}((?!{_I}){large}(?![^\W_])|{alone})", re.MULTILINE)
        self.leading = re.compile(rf"{_OPENS}((?!{_I}){large})(?:[*_\"')\]:]|\.(?!\w)|\s*$|\s*\n)")
        self.alone = re.compile(rf"{_OPENS}({small}){_CLOSES}\.?{_CLOSES}\s*")
        # Neither degrees nor words of one letter: "A dog runs" is no answer, "A is right" is one.
        self.lone = re.compile(rf"(?<!°)\b(?!{_NAMED}(?:{_A}|{_I})){large}\b")
        self.letter = re.compile(rf"(?<![^\W_]){large}(?![^\W_])")
        self.label = re.compile(rf"^\(?{large}[.):]\s+")
        self.names_letters = re.compile(rf"\b{large} (?:and|or) {large}\b")


@cache
def _patterns(options: int = USUAL) -> _Patterns:
    return _Patterns(LETTERS[max(options, USUAL) - 1])


class MultipleChoiceRow(BaseModel):
    """A question with up to 26 options; the answer is the letter of one."""

    question: str = Field(min_length=1)
    options: list[str] = Field(min_length=2, max_length=len(LETTERS))
    answer: str


class MultipleChoiceSample(BaseModel):
    """What a teacher writes. The right option is given apart: teachers put it first far too often when they letter it."""

    model_config = ConfigDict(extra="forbid")

    question: str
    correct: str
    wrong: list[str]


def read_letter(output: str, options: int = USUAL) -> str:
    """The letter of one of so many options that an output settles on, '' if none."""
    find = _patterns(options)
    stated = find.stated.findall(output)
    if stated:
        return str(stated[-1]).upper()
    leading = find.leading.match(output) or find.alone.fullmatch(output)
    if leading:
        return leading.group(1).upper()
    lone = set(find.lone.findall(output))
    return lone.pop() if len(lone) == 1 else ""


def lettered(options: Sequence[str]) -> str:
    """The options, one per line, with their letters."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def letter_of(labels: Sequence[Any], key: Any) -> str:
    """The letter for a published key: labels may be 1 to 4, a to d or 0 to 3; their order counts. Raises InputError."""
    names = [str(label).strip() for label in labels]
    if str(key).strip() not in names:
        raise InputError(f"answer key '{key}' is none of the labels {', '.join(names)}")
    return LETTERS[names.index(str(key).strip())]


def score_letter(options: Sequence[str], answer: str, output: str) -> Score:
    """The verdict on an output. A letter without an option is no answer, nor is one that stands in an option's own words."""
    letter = read_letter(_without_texts(options, output), len(options))
    labels = LETTERS[: len(options)]
    if not letter or letter not in labels:
        return Score(correct=False, valid=False, detail=f"names none of the options {', '.join(labels)}")
    if letter == answer:
        return Score(correct=True, valid=True, predicted=letter)
    chosen, right = options[labels.index(letter)], options[labels.index(answer)]
    return Score(correct=False, valid=True, predicted=letter, detail=f"chose '{chosen}' instead of '{right}'")


def _without_texts(options: Sequence[str], output: str) -> str:
    """The output without repeated options that hold a letter of their own, as 'vitamin C' does."""
    for option in sorted(options, key=len, reverse=True):
        if " " in option and _patterns(len(options)).letter.search(option):
            output = output.replace(option, " ")
    return output


def stated(letter: str) -> str:
    """The completion that settles on a letter."""
    return f"The best answer is {letter}."


def arrange(correct: str, wrong: Sequence[str], key: str) -> tuple[list[str], str]:
    """Options in an order drawn from `key`, and the letter of the right one. Raises InputError, as feedback."""
    find = _patterns(len(wrong) + 1)
    options = [find.label.sub("", " ".join(text.split())) for text in (correct, *wrong)]
    right = options[0]
    for number, option in enumerate(options):
        if not option:
            raise InputError("wrong: an option is empty")
        if option in options[:number]:  # capitals count: 'Cc' and 'CC' are different genes
            raise InputError(f"wrong: '{option}' stands there twice; every option must be different")
        if find.names_letters.search(option):
            raise InputError(f"wrong: '{option}' names other options by letter; each must stand alone")
    random.Random(key).shuffle(options)
    options.sort(key=lambda option: "of the above" in option.casefold())
    return options, LETTERS[options.index(right)]


def question_kind(text: str) -> set[str]:
    """What the wording of a question asks for beyond the fact, as far as words tell."""
    kinds = set()
    if re.search(r"\bNOT\b|\bEXCEPT\b|\bnot\b[^.?]*\?|\bexcept\b|\bleast\b", text):
        kinds.add("negated question (not, except, least)")
    if re.search(r"\b(?:best|most|mostly|BEST|MOST|most likely)\b", text):
        kinds.add("comparison of options (best, most)")
    return kinds


class MultipleChoice(Rephrasable):
    """Base of the lettered tasks; a subclass says how rows are published, what is asked and what a teacher writes."""

    metric: ClassVar[str] = "accuracy of the letter"
    max_new_tokens = 100
    Schema = MultipleChoiceRow
    Sample: type[MultipleChoiceSample]

    @abstractmethod
    def stem(self, fields: Fields) -> str:
        """What stands above the options."""

    def messages(self, fields: Fields) -> list[Message]:
        text = f"{self.stem(fields)}\n\n{lettered(fields['options'])}\n\n{INSTRUCTION}"
        return [{"role": "user", "content": text}]

    def target(self, fields: Fields) -> str:
        return stated(fields["answer"])

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        return score_letter(fields["options"], fields["answer"], output)

    def question(self, fields: Fields) -> str:
        return f"{fields['question']}\n{lettered(fields['options'])}"

    def reference(self, fields: Fields) -> str:
        return f"{fields['answer']}. {_right(fields)}"

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        letter = draw.choice([one for one in self.options_of(fields) if one != fields["answer"]])
        return self.reference({**fields, "answer": letter})

    def private_texts(self, fields: Fields) -> list[str]:
        return [fields["question"]]

    def options_of(self, fields: Fields) -> list[str]:
        return list(LETTERS[: len(fields["options"])])

    def sample_of(self, fields: Fields) -> MultipleChoiceSample:
        right = _right(fields)
        wrong = [option for option in fields["options"] if option != right]
        # Not validated: a training row that is shorter than a sample must be is still shown as it is.
        return self.Sample.model_construct(question=fields["question"], correct=right, wrong=wrong)

    def fields_of(self, sample: BaseModel, seed: Fields) -> Fields:
        assert isinstance(sample, MultipleChoiceSample)
        question = _without_options(sample.question)
        options, answer = arrange(sample.correct, sample.wrong, question)
        return {"question": question, "options": options, "answer": answer}

    def wording(self, fields: Fields) -> str:
        return str(fields["question"])

    def with_wording(self, fields: Fields, text: str) -> Fields:
        return {**fields, "question": _without_options(text)}


def _without_options(question: str) -> str:
    """In one line. Raises InputError, as feedback, for a question that lists its options."""
    line = " ".join(question.split())
    if _LISTS_OPTIONS.search(line):
        raise InputError("question: lists the options; they do not belong there")
    return line


def _right(fields: Fields) -> str:
    return str(fields["options"][LETTERS.index(fields["answer"])])
