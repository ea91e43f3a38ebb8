"""A user's own JSONL, described in the run's configuration.

    task:
      name: custom
      options:
        prompt: "Translate into {language}: {text}"     # a template, or the name of one field
        answer: translation                             # what the model is trained to write
        scorer: exact                                   # multiple_choice, numeric, regex, python, f1, rouge or json
        description: Short translations of signs in a museum.

    {"language": "Danish", "text": "No entry", "translation": "Ingen adgang"}

Where rows are sorted into a few kinds, `labels` names them, and may say what they mean: `labels: {spam: advertising, ham: mail}`.

The scorer (scorers/, one file each) reads the model's output and the row's answer in the same way and compares what it finds:

    numeric   the last numbers, as people write them: -1 000, 1.5e3, $12, 50 %; with `fractions: true` also 3/4
    f1 rouge  words in common, graded from 0 to 1; below `threshold` an answer is a failure, models are compared by their mean
    json      {"city": "Oslo", "days": 2}: the `fields` that count, `free_text` among them, and those `ignored`; tool calls too
    python    a function `(output: str, answer: str) -> bool` in one file, with the standard library alone; run in the sandbox

Thoughts before an answer, <think>...</think>, are not compared: neither a model's nor those that a row teaches.
"""

import random
import re
import warnings
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.multiple_choice import INSTRUCTION, LETTERS, arrange, lettered, stated
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.scorers.options import ScorerOptions
from pada_agent.components.core.tasks.scorers.python import ASSET, Python, split_place
from pada_agent.components.core.tasks.scorers.registry import load_scorer
from pada_agent.components.core.tasks.scorers.scorer import Scorer, text_at
from pada_agent.components.core.tasks.task import CodeRunner, Message, OptionFile, Solution
from pada_agent.components.core.thoughts import without_thoughts

_SLOT = re.compile(r"\{(\w+)\}")


class CustomOptions(ScorerOptions):
    """`task.options` of a custom task."""

    prompt: str = Field(min_length=1, description="template with {field}s, or the name of one field")
    answer: str = Field(min_length=1, description="field with the answer; multiple choice: label, number from 0, or text")
    description: str = Field(min_length=1, description="told to the teacher: what is asked, what a good answer is")
    system: str = Field(default="", description="system message")
    rephrase: str = Field(default="", description="field of the prompt that may be put into other words; empty: its only one")
    group: str = Field(default="", description="field whose value ties rows together, e.g. a document's name")
    max_new_tokens: int = Field(default=128, ge=1, le=4096)


class CustomRow(BaseModel):
    """The values of the prompt's fields, the answer (a letter for multiple choice) and the options."""

    inputs: dict[str, str]
    answer: str = Field(min_length=1)
    choices: list[str] = Field(default_factory=list, max_length=5)


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
        self._scorer = load_scorer(self.options, assets)
        self.Sample = _sample_model(self._slots, self._scorer)
        self.Solved = self._scorer.Solved

    @classmethod
    def option_files(cls, options: Fields) -> dict[str, OptionFile]:
        file, function = split_place(options.get("python"))
        return {"python": OptionFile(file, ASSET, f":{function}")} if file else {}

    def assets(self) -> dict[str, str]:
        return {ASSET: self._scorer.source} if isinstance(self._scorer, Python) else {}

    def read(self, raw: Fields) -> Fields:
        """Raises InputError for a field that is missing and for an answer that the scorer could not read."""
        fields: Fields = {"inputs": {slot: text_at(raw, slot) for slot in self._slots}}
        fields |= self._scorer.read(raw, self.options.answer)
        if problem := self._scorer.complaint(_answered(fields)):
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
        return self._scorer.score(_answered(fields), without_thoughts(output) or "", run_code)

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
        label = _label(fields)
        meaning = self.options.labels[label]
        return {f"the answer '{label}'{f' ({meaning})' if meaning else ''}"}

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        """Another option or label; of other answers nothing is known."""
        others = [option for option in self.options_of(fields) if option != _label(fields)]
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
        if problem := self._scorer.complaint(_answered(fields)):
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

    def unusable(self, answer: str) -> str:
        return self._scorer.unusable(answer)

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        return self._scorer.agrees(_answered(fields), solution, run_code)


def _answered(fields: Fields) -> Fields:
    """As scored: without the thoughts that a model may be trained to write before its answer."""
    return {**fields, "answer": without_thoughts(fields["answer"]) or ""}


def _label(fields: Fields) -> str:
    """A row's answer as it is named among labels, or its letter."""
    return " ".join(str(_answered(fields)["answer"]).split())


def _meanings(labels: dict[str, str]) -> str:
    told = "".join(f"\n- {label}: {meaning}" for label, meaning in labels.items() if meaning)
    return f"\nWhat the answers mean:{told}" if told else ""


def _complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        own = {name: field for name, field in CustomOptions.model_fields.items() if name not in ScorerOptions.model_fields}
        return f"'{where}' is not known; custom takes {', '.join(own | ScorerOptions.model_fields)}"
    return f"{where}: {first['msg']}" if where else str(first["msg"]).removeprefix("Value error, ")


def _key(slots: list[str], name: str) -> str:
    """A name for a field of the sample that no field of the prompt has."""
    return name if name not in slots else _key(slots, f"{name}_")


def _sample_model(slots: list[str], scorer: Scorer) -> type[BaseModel]:
    reserved = [slot for slot in slots if slot.startswith(("_", "model_"))]
    if reserved:
        raise InputError(f"task.options.prompt: a field called '{reserved[0]}' cannot be used; rename it in the data")
    fields: dict[str, Any] = {slot: (Annotated[str, Field(min_length=1)], ...) for slot in slots}
    if scorer.options.choices:
        option = Annotated[str, Field(min_length=1)]
        correct = Field(description="the one right option")
        wrong = Field(min_length=1, max_length=4, description="options that are plausible but clearly wrong")
        fields |= {_key(slots, "correct"): (option, correct), _key(slots, "wrong"): (list[option], wrong)}
    else:
        answer = Field(min_length=1, description="the right answer, in exactly the form of the examples")
        own = {_key(slots, "answer"): (scorer.answer_type, ... if scorer.answer_leads else answer)}
        fields = {**own, **fields} if scorer.answer_leads else {**fields, **own}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a field may well be called schema or json
        return create_model("CustomSample", __config__=ConfigDict(extra="forbid"), **fields)
