"""A user's own JSONL, described in the run's configuration.

    task:
      name: custom
      options:
        prompt: "Translate into {language}: {text}"     # a template, or the name of one field
        answer: translation                             # what the model is trained to write
        scorer: exact                                   # exact, multiple_choice, numeric, regex or python
        description: Short translations of signs in a museum.

    {"language": "Danish", "text": "No entry", "translation": "Ingen adgang"}

Where rows are sorted into a few kinds, `labels` names them, and may say what they mean: `labels: {spam: advertising, ham: mail}`.

The scorer reads the model's output and the row's answer in the same way and compares what it finds; a Python scorer is
a function `(output: str, answer: str) -> bool` in one file that needs the standard library alone. It runs in the sandbox.
"""

import random
import re
import warnings
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model, model_validator

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.gsm8k import last_number, same_number
from pada_agent.components.core.tasks.multiple_choice import (
    INSTRUCTION,
    LETTERS,
    arrange,
    letter_of,
    lettered,
    score_letter,
    stated,
)
from pada_agent.components.core.tasks.python_scorer import ASSET, PythonScorer, split_place
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.squad import normalise
from pada_agent.components.core.tasks.task import CodeRunner, Message, OptionFile, Solution

SECONDS = 5.0  # of one call of a Python scorer
_SLOT = re.compile(r"\{(\w+)\}")
# Without what ends and quotes sentences; a sign, a decimal point and what makes C++ no C# are part of an answer.
_WORD = re.compile(r"-?\d[\d.,]*\d|-?\d|[^\W\d]+|[^\w\s.,;:!?\"'()\[\]{}-]")


def _without_meaning(value: Any) -> Any:
    """A list of labels as a mapping to nothing."""
    if isinstance(value, list) and all(isinstance(label, str) for label in value):
        if len(set(value)) < len(value):
            raise ValueError("each must occur once")
        return dict.fromkeys(value, "")
    return value


class CustomOptions(BaseModel):
    """`task.options` of a custom task."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1, description="template with {field}s, or the name of one field")
    answer: str = Field(min_length=1, description="field with the answer; multiple choice: label, number from 0, or text")
    scorer: Literal["exact", "multiple_choice", "numeric", "regex", "python"]
    description: str = Field(min_length=1, description="told to the teacher: what is asked, what a good answer is")
    choices: str = Field(default="", description="field with the list of options, for multiple_choice")
    labels: Annotated[dict[str, str], BeforeValidator(_without_meaning)] = Field(
        default={}, description="all answers there are, where exact sorts rows into a few kinds; or a mapping: answer to meaning"
    )
    regex: str = Field(default="", description="finds the answer, in its first group if it has one; the last match counts")
    python: str = Field(default="", description="file.py:function or package.module:function")
    system: str = Field(default="", description="system message")
    rephrase: str = Field(default="", description="field of the prompt that may be put into other words; empty: its only one")
    group: str = Field(default="", description="field whose value ties rows together, e.g. a document's name")
    max_new_tokens: int = Field(default=128, ge=1, le=4096)

    @model_validator(mode="after")
    def _fits(self) -> "CustomOptions":
        for scorer, option in (("multiple_choice", "choices"), ("regex", "regex"), ("python", "python")):
            if (self.scorer == scorer) != bool(getattr(self, option)):
                raise ValueError(f"{option}: belongs to scorer {scorer}, and it needs it")
        if self.labels and self.scorer != "exact":
            raise ValueError("labels: belong to scorer exact")
        if self.labels and (len(self.labels) < 2 or not all(label and label == " ".join(label.split()) for label in self.labels)):
            raise ValueError("labels: must be two or more, none of them empty or with space around it")
        try:
            re.compile(self.regex)
        except re.error as e:
            raise ValueError(f"regex: {e}") from e
        if self.python and not re.fullmatch(r".+:[A-Za-z_]\w*", self.python):
            raise ValueError(f"python: '{self.python}' is not file.py:function or package.module:function")
        return self


class CustomRow(BaseModel):
    """The values of the prompt's fields, the answer (a letter for multiple choice) and the options."""

    inputs: dict[str, str]
    answer: str = Field(min_length=1)
    choices: list[str] = Field(default_factory=list, max_length=5)


class LabelSolution(Solution):
    """The label alone: asked to think first, a teacher of 1.5B named the right one of ten for 3 messages in 10, else for 6."""

    work: ClassVar[str] = ""  # type: ignore[misc]


class Custom(Rephrasable):
    """Options: see CustomOptions."""

    name = "custom"
    metric: ClassVar[str] = "correct by the configured scorer"
    needs_sandbox: ClassVar[bool] = True  # with a Python scorer
    Schema = CustomRow

    def __init__(self, options: Fields, assets: Path | None = None) -> None:
        try:
            self.options = CustomOptions.model_validate(options)
        except ValidationError as e:
            raise InputError(f"task.options: {_complaint(e)}") from e
        bare = re.fullmatch(r"\w+", self.options.prompt)
        self._template = f"{{{self.options.prompt}}}" if bare else self.options.prompt
        self._slots = list(dict.fromkeys(_SLOT.findall(self._template)))
        if not self._slots:
            raise InputError("task.options.prompt: names no field; write it as a field's name or with {field} in it")
        if self.options.rephrase and self.options.rephrase not in self._slots:
            raise InputError(f"task.options.rephrase: the prompt has no field '{self.options.rephrase}'")
        self.description = self.options.description + _meanings(self.options.labels)
        self.max_new_tokens = self.options.max_new_tokens
        self.Sample = _sample_model(self._slots, self.options)
        if self.options.labels:
            self.Solved = LabelSolution
        self._scorer = PythonScorer(self.options.python, assets) if self.options.python else None

    @classmethod
    def option_files(cls, options: Fields) -> dict[str, OptionFile]:
        file, function = split_place(options.get("python"))
        return {"python": OptionFile(file, ASSET, f":{function}")} if file else {}

    def assets(self) -> dict[str, str]:
        return {ASSET: self._scorer.source} if self._scorer else {}

    def read(self, raw: Fields) -> Fields:
        """Raises InputError for a field that is missing and for an answer that the scorer could not read."""
        inputs = {slot: _text(raw, slot) for slot in self._slots}
        if not self.options.choices:
            fields: Fields = {"inputs": inputs, "answer": _text(raw, self.options.answer), "choices": []}
        else:
            choices = raw.get(self.options.choices)
            if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
                raise InputError(f"{self.options.choices}: must be a list of two to five options")
            answer = _letter([str(choice) for choice in choices], raw.get(self.options.answer), self.options.answer)
            fields = {"inputs": inputs, "answer": answer, "choices": [str(choice) for choice in choices]}
        problem = self._unreadable(fields)
        if problem:
            raise InputError(f"{self.options.answer}: {problem}")
        return fields

    def group(self, raw: Fields) -> str:
        return str(raw.get(self.options.group) or "") if self.options.group else ""

    def messages(self, fields: Fields) -> list[Message]:
        text = _SLOT.sub(lambda slot: str(fields["inputs"][slot.group(1)]), self._template)
        if fields["choices"]:
            text = f"{text}\n\n{lettered(fields['choices'])}\n\n{INSTRUCTION}"
        system = [{"role": "system", "content": self.options.system}] if self.options.system else []
        return [*system, {"role": "user", "content": text}]

    def target(self, fields: Fields) -> str:
        return stated(fields["answer"]) if fields["choices"] else str(fields["answer"])

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        if fields["choices"]:
            return score_letter(fields["choices"], fields["answer"], output)
        found, gold = self._found(output), self._found(fields["answer"])
        if not found:
            return Score(correct=False, valid=False, detail="empty" if not output.strip() else "no answer found in it")
        if self._scorer:
            result = run_code(self._scorer.program(output, fields["answer"]), SECONDS)
            return Score(correct=result.passed, valid=True, predicted=found, detail=result.detail)
        correct = same_number(found, gold) if self.options.scorer == "numeric" else found == gold
        detail = "" if correct else f"'{found}' instead of '{gold}'"
        if self.options.labels and found not in self.options.labels:
            return Score(correct=False, valid=False, detail=f"'{found}' is none of the labels")
        extra = {"normalised": normalise(found) == normalise(gold)} if self.options.scorer == "exact" else {}
        return Score(correct=correct, valid=True, predicted=found, detail=detail, extra=extra)

    def question(self, fields: Fields) -> str:
        inputs = fields["inputs"]
        text = next(iter(inputs.values())) if len(inputs) == 1 else "\n".join(f"{k}: {v}" for k, v in inputs.items())
        return f"{text}\n{lettered(fields['choices'])}" if fields["choices"] else str(text)

    def shown(self, fields: Fields) -> str:
        return str(self.messages(fields)[-1]["content"])

    def reference(self, fields: Fields) -> str:
        if not fields["choices"]:
            return self.target(fields)
        return f"{fields['answer']}. {fields['choices'][LETTERS.index(fields['answer'])]}"

    def private_texts(self, fields: Fields) -> list[str]:
        """The prompt's fields; one that is short and common (a language's name) says nothing."""
        return [text for text in fields["inputs"].values() if len(text.split()) > 3] or [self.question(fields)]

    def options_of(self, fields: Fields) -> list[str]:
        return list(self.options.labels) or list(LETTERS[: len(fields["choices"])])

    def features(self, fields: Fields) -> set[str]:
        """The row's label, where there are labels: failures are counted by it, and examples asked for with it."""
        if not self.options.labels:
            return set()
        meaning = self.options.labels[fields["answer"]]
        return {f"the answer '{fields['answer']}'{f' ({meaning})' if meaning else ''}"}

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        """Another option or label; of other answers nothing is known."""
        others = [option for option in self.options_of(fields) if option != fields["answer"]]
        return self.reference({**fields, "answer": draw.choice(others)}) if others else ""

    def sample_of(self, fields: Fields) -> BaseModel:
        # Not validated: a training row that is shorter than a sample must be is still shown as it is.
        if not fields["choices"]:
            parts = {**fields["inputs"], _key(self._slots, "answer"): fields["answer"]}
            return self.Sample.model_construct(**{name: parts[name] for name in self.Sample.model_fields})
        right = fields["choices"][LETTERS.index(fields["answer"])]
        wrong = [choice for choice in fields["choices"] if choice != right]
        answers = {_key(self._slots, "correct"): right, _key(self._slots, "wrong"): wrong}
        return self.Sample.model_construct(**fields["inputs"], **answers)

    def fields_of(self, sample: BaseModel, seed: Fields) -> Fields:
        inputs = {slot: str(getattr(sample, slot)).strip() for slot in self._slots}
        empty = [slot for slot, text in inputs.items() if not text]
        if empty:
            raise InputError(f"{empty[0]}: is empty")
        if self.options.choices:
            correct, wrong = (getattr(sample, _key(self._slots, name)) for name in ("correct", "wrong"))
            choices, letter = arrange(correct, wrong, "\n".join(inputs.values()))
            return {"inputs": inputs, "answer": letter, "choices": choices}
        fields: Fields = {"inputs": inputs, "answer": getattr(sample, _key(self._slots, "answer")).strip(), "choices": []}
        problem = self._unreadable(fields)
        if problem:
            raise InputError(f"answer: {problem}")
        return fields

    def check_rephrasing(self) -> None:
        if not self._rephrased:
            raise InputError(
                "task.options.rephrase: generate.method auggpt puts one field of the prompt into other words, answer kept; "
                f"say which: {', '.join(self._slots)}"
            )

    @property
    def _rephrased(self) -> str:
        return self.options.rephrase or (self._slots[0] if len(self._slots) == 1 else "")

    def wording(self, fields: Fields) -> str:
        return str(fields["inputs"][self._rephrased])

    def with_wording(self, fields: Fields, text: str) -> Fields:
        return {**fields, "inputs": {**fields["inputs"], self._rephrased: text}}

    def verify(self, fields: Fields, run_code: CodeRunner) -> str:
        score = self.score(fields, self.target(fields), run_code)
        return "" if score.correct else f"the scorer refuses the answer itself: {score.detail}"

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        """By the user's scorer; an exact one is not asked about capitals, articles and the marks of a sentence."""
        score = super().agrees(fields, solution, run_code)
        if self.options.scorer == "regex" and not score.valid:  # the bare answer, without what the regex finds it by
            bare = " ".join(solution.answer.split())
            return Score(correct=bare == self._found(fields["answer"]), valid=bool(bare), predicted=bare)
        alike = self.options.scorer == "exact" and _words(solution.answer) == _words(fields["answer"]) != []
        return score.model_copy(update={"correct": score.correct or alike})

    def _found(self, text: str) -> str:
        """What the scorer compares."""
        if self.options.scorer == "numeric":
            return last_number(text)
        if self.options.scorer == "regex":
            matches = list(re.finditer(self.options.regex, text))
            return (matches[-1].group(1 if matches[-1].re.groups else 0) or "").strip() if matches else ""
        return " ".join(text.split())

    def _unreadable(self, fields: Fields) -> str:
        if self.options.labels and self._found(fields["answer"]) not in self.options.labels:
            return f"'{fields['answer']}' is none of task.options.labels"
        if fields["choices"] or self._found(fields["answer"]):
            return ""
        return {
            "numeric": f"'{fields['answer']}' has no number in it",
            "regex": f"the regex finds nothing in '{fields['answer']}'; the model is trained to write this text",
        }.get(self.options.scorer, "is empty")


def _complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"'{where}' is not known; custom takes {', '.join(CustomOptions.model_fields)}"
    return f"{where}: {first['msg']}" if where else str(first["msg"]).removeprefix("Value error, ")


def _text(raw: Fields, key: str) -> str:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise InputError(f"{key}: {'is missing' if value is None else 'must be a text or a number'}")
    return str(value)


def _meanings(labels: dict[str, str]) -> str:
    told = "".join(f"\n- {label}: {meaning}" for label, meaning in labels.items() if meaning)
    return f"\nWhat the answers mean:{told}" if told else ""


def _letter(choices: list[str], key: Any, name: str) -> str:
    """The letter for an answer given as text, letter or number from 0, in this order."""
    if choices.count(str(key)) == 1:
        return LETTERS[choices.index(str(key))]
    try:
        return letter_of(LETTERS[: len(choices)] if isinstance(key, str) and key.isalpha() else range(len(choices)), key)
    except InputError as e:
        raise InputError(f"{name}: {e}") from e


def _words(text: str) -> list[str]:
    """In lower case and without articles, unless there is nothing else."""
    words = _WORD.findall(text.lower())
    return [word for word in words if word not in {"a", "an", "the"}] or words


def _key(slots: list[str], name: str) -> str:
    """A name for a field of the sample that no field of the prompt has."""
    return name if name not in slots else _key(slots, f"{name}_")


def _sample_model(slots: list[str], options: CustomOptions) -> type[BaseModel]:
    reserved = [slot for slot in slots if slot.startswith(("_", "model_"))]
    if reserved:
        raise InputError(f"task.options.prompt: a field called '{reserved[0]}' cannot be used; rename it in the data")
    fields: dict[str, Any] = {slot: (Annotated[str, Field(min_length=1)], ...) for slot in slots}
    if options.scorer == "multiple_choice":
        option = Annotated[str, Field(min_length=1)]
        correct = Field(description="the one right option")
        wrong = Field(min_length=1, max_length=4, description="options that are plausible but clearly wrong")
        fields |= {_key(slots, "correct"): (option, correct), _key(slots, "wrong"): (list[option], wrong)}
    else:
        key = _key(slots, "answer")
        answer = Field(min_length=1, description="the right answer, in exactly the form of the examples")
        if options.labels:  # first: a small teacher writes a text for a label better than a label for its text
            fields = {key: (Literal[tuple(options.labels)], ...), **fields}
        else:
            fields[key] = (str, answer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a field may well be called schema or json
        return create_model("CustomSample", __config__=ConfigDict(extra="forbid"), **fields)
