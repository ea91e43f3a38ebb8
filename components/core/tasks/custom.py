"""A user's own rows, described in the run's configuration.

    task:
      name: custom
      options:
        prompt: "Translate into {language}: {text}"     # a template, or the name of one field
        answer: translation                             # what the model is trained to write
        scorer: exact                                   # exact, multiple_choice, numeric, regex or python
        description: Short translations of signs in a museum.

    {"language": "Danish", "text": "No entry", "translation": "Ingen adgang"}

`prompt` and `answer` may be left out where a row has a form that is known (shapes.py): chats, Alpaca, columns of usual names.
The scorer reads the model's output and the row's answer in the same way and compares what it finds; a Python scorer is
a function `(output: str, answer: str) -> bool` in one file that needs the standard library alone. It runs in the sandbox.
"""

import random
import re
import warnings
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.columns import accepted, options_in, safe_names, text_of
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
from pada_agent.components.core.tasks.shapes import Shape, plain
from pada_agent.components.core.tasks.squad import normalise
from pada_agent.components.core.tasks.task import CodeRunner, Message, OptionFile, Solution
from pada_agent.components.core.tasks.turns import system_and_chat, transcript, turns_of

SECONDS = 5.0  # of one call of a Python scorer
_SLOT = re.compile(r"\{(\w(?:[\w .()/?#-]*[\w)?#])?)\}")  # a column's name may have spaces
# Without what ends and quotes sentences; a sign, a decimal point and what makes C++ no C# are part of an answer.
_WORD = re.compile(r"-?\d[\d.,]*\d|-?\d|[^\W\d]+|[^\w\s.,;:!?\"'()\[\]{}-]")


class CustomOptions(BaseModel):
    """`task.options` of a custom task."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(default="", description="template with {field}s, or the name of one field; empty: as the shape says")
    answer: str = Field(
        default="",
        description="field with the answer, or with a list of accepted ones; multiple choice: label, number from 0, or text",
    )
    scorer: Literal["exact", "multiple_choice", "numeric", "regex", "python"]
    description: str = Field(min_length=1, description="told to the teacher: what is asked, what a good answer is")
    shape: Shape = Field(default="auto", description="of the rows: columns, chat, sharegpt, alpaca; auto: as each row looks")
    choices: str = Field(default="", description="field with the options, for multiple_choice; empty: found by its name")
    regex: str = Field(default="", description="finds the answer, in its first group if it has one; the last match counts")
    python: str = Field(default="", description="file.py:function or package.module:function")
    system: str = Field(default="", description="system message")
    rephrase: str = Field(default="", description="field of the prompt that may be put into other words; empty: its only one")
    group: str = Field(default="", description="field whose value ties rows together, e.g. a document's name")
    max_new_tokens: int = Field(default=128, ge=1, le=4096)

    @model_validator(mode="after")
    def _fits(self) -> "CustomOptions":
        for scorer, option in (("multiple_choice", "choices"), ("regex", "regex"), ("python", "python")):
            given = bool(getattr(self, option)) or (option == "choices" and self.scorer == scorer)  # else it is looked for
            if (self.scorer == scorer) != given:
                raise ValueError(f"{option}: belongs to scorer {scorer}, and it needs it")
        try:
            re.compile(self.regex)
        except re.error as e:
            raise ValueError(f"regex: {e}") from e
        if self.shape not in ("auto", "columns") and (self.prompt or self.answer):
            raise ValueError(
                f"{'prompt' if self.prompt else 'answer'}: shape {self.shape} says where it is; leave one of them out"
            )
        if self.python and not re.fullmatch(r".+:[A-Za-z_]\w*", self.python):
            raise ValueError(f"python: '{self.python}' is not file.py:function or package.module:function")
        return self


class CustomRow(BaseModel):
    """The values of the prompt's fields, the answer (a letter for multiple choice) and the options."""

    inputs: dict[str, str]
    answer: str = Field(min_length=1)
    choices: list[str] = Field(default_factory=list, max_length=len(LETTERS))
    also: list[str] = Field(default_factory=list, description="other answers that are accepted")
    before: list[Message] = Field(default_factory=list, description="the turns of user and assistant before the prompt")
    system: str = Field(default="", description="the row's own system message")

    @model_serializer(mode="wrap")
    def _without_what_is_empty(self, whole: SerializerFunctionWrapHandler) -> Fields:
        return {name: value for name, value in whole(self).items() if value or name in ("inputs", "answer", "choices")}


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
        self._looked_for = tuple(name for name in ("prompt", "answer") if not getattr(self.options, name))
        self._shape: Shape = self.options.shape if len(self._looked_for) == 2 else "columns"
        self._choices = self.options.choices  # empty: found by its name
        named = (*self._looked_for, *(["choices"] if self.options.scorer == "multiple_choice" and not self._choices else []))
        self.options = self.options.model_copy(update={name: name for name in named})
        self._template = self.options.prompt if re.search(r"[{}\n]", self.options.prompt) else ""
        self._slots = list(dict.fromkeys(_SLOT.findall(self._template))) if self._template else [self.options.prompt]
        if not self._slots:
            raise InputError("task.options.prompt: names no field; write it as a field's name or with {field} in it")
        if self.options.rephrase and self.options.rephrase not in self._slots:
            raise InputError(f"task.options.rephrase: the prompt has no field '{self.options.rephrase}'")
        self.description = self.options.description
        self.max_new_tokens = self.options.max_new_tokens
        self._keys = safe_names(self._slots)
        self.Sample = _sample_model(self._keys, self.options.scorer)
        self._scorer = PythonScorer(self.options.python, assets) if self.options.python else None

    @classmethod
    def option_files(cls, options: Fields) -> dict[str, OptionFile]:
        file, function = split_place(options.get("python"))
        return {"python": OptionFile(file, ASSET, f":{function}")} if file else {}

    def assets(self) -> dict[str, str]:
        return {ASSET: self._scorer.source} if self._scorer else {}

    def read(self, raw: Fields) -> Fields:
        """Raises InputError for a field that is missing and for an answer that the scorer could not read."""
        found = plain(raw, self._shape, self._looked_for) if self._looked_for else None
        raw = {**raw, **found.columns} if found else raw
        inputs = {slot: text_of(raw, slot, optional=len(self._slots) > 1) for slot in self._slots}
        if not any(inputs.values()):
            raise InputError(f"{', '.join(inputs)}: are all empty; leave the row out")
        also: list[str] = []
        if not self.options.choices:
            answer, *also = accepted(raw, self.options.answer)
            fields: Fields = {"inputs": inputs, "answer": answer, "choices": []}
        else:
            options = options_in(raw, raw.get(self.options.answer), self._choices)
            if not 2 <= len(options.texts) <= len(LETTERS) or not all(options.texts):
                raise InputError(f"{self.options.choices}: must be a list of two to {len(LETTERS)} options, none of them empty")
            answer = _letter(options.texts, options.key, self.options.answer)
            fields = {"inputs": inputs, "answer": answer, "choices": options.texts}
        for text in (answer, *also):
            if problem := self._unreadable({**fields, "answer": text}):
                raise InputError(f"{self.options.answer}: {problem}")
        more = {"also": also, "before": found.before if found else [], "system": found.system if found else ""}
        return fields | {name: value for name, value in more.items() if value}

    def recognised(self, raw: Fields) -> str:
        found = plain(raw, self._shape, self._looked_for) if self._looked_for else None
        said = [found.what] if found else []
        if self.options.choices and not self._choices:
            said.append(f"options from {options_in({**raw, **(found.columns if found else {})}, None).where}")
        return ", ".join(said)

    def group(self, raw: Fields) -> str:
        return text_of(raw, self.options.group, optional=True) if self.options.group else ""

    def messages(self, fields: Fields) -> list[Message]:
        inputs = fields["inputs"]
        text = _SLOT.sub(lambda slot: str(inputs[slot[1]]), self._template) if self._template else inputs[self._slots[0]]
        if fields["choices"]:
            text = f"{text}\n\n{lettered(fields['choices'])}\n\n{INSTRUCTION}"
        instructions = self.options.system or fields.get("system", "")
        system = [{"role": "system", "content": instructions}] if instructions else []
        return [*system, *fields.get("before", []), {"role": "user", "content": text}]

    def target(self, fields: Fields) -> str:
        return stated(fields["answer"]) if fields["choices"] else str(fields["answer"])

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        """Against each answer that is accepted, until one is right."""
        first = self._score(fields, output, run_code)
        others = (self._score({**fields, "answer": answer}, output, run_code) for answer in fields.get("also", []))
        return first if first.correct else next((score for score in others if score.correct), first)

    def _score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
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
        extra = {"normalised": normalise(found) == normalise(gold)} if self.options.scorer == "exact" else {}
        return Score(correct=correct, valid=True, predicted=found, detail=detail, extra=extra)

    def question(self, fields: Fields) -> str:
        inputs = fields["inputs"]
        text = next(iter(inputs.values())) if len(inputs) == 1 else "\n".join(f"{k}: {v}" for k, v in inputs.items() if v)
        text = f"{text}\n{lettered(fields['choices'])}" if fields["choices"] else str(text)
        return transcript([*fields.get("before", []), {"role": "user", "content": text}])

    def shown(self, fields: Fields) -> str:
        return system_and_chat(self.messages(fields))[1]

    def reference(self, fields: Fields) -> str:
        if not fields["choices"]:
            return self.target(fields)
        return f"{fields['answer']}. {fields['choices'][LETTERS.index(fields['answer'])]}"

    def private_texts(self, fields: Fields) -> list[str]:
        """The prompt's fields; one that is short and common (a language's name) says nothing."""
        texts = [*fields["inputs"].values(), *(turn["content"] for turn in fields.get("before", []))]
        return [text for text in texts if len(text.split()) > 3] or [self.question(fields)]

    def options_of(self, fields: Fields) -> list[str]:
        return list(LETTERS[: len(fields["choices"])])

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        """Another option; of other answers nothing is known."""
        others = [letter for letter in self.options_of(fields) if letter != fields["answer"]]
        return self.reference({**fields, "answer": draw.choice(others)}) if others else ""

    def sample_of(self, fields: Fields) -> BaseModel:
        # Not validated: a training row that is shorter than a sample must be is still shown as it is.
        if not fields["choices"]:
            return self.Sample.model_construct(**self._written(fields), **{_key(self._keys, "answer"): fields["answer"]})
        right = fields["choices"][LETTERS.index(fields["answer"])]
        wrong = [choice for choice in fields["choices"] if choice != right]
        answers = {_key(self._keys, "correct"): right, _key(self._keys, "wrong"): wrong}
        return self.Sample.model_construct(**self._written(fields), **answers)

    def fields_of(self, sample: BaseModel, seed: Fields) -> Fields:
        inputs = {slot: str(getattr(sample, key)).strip() for slot, key in zip(self._slots, self._keys, strict=True)}
        empty = [slot for slot, text in inputs.items() if not text and seed.get("inputs", {}).get(slot, "x")]
        if empty:
            raise InputError(f"{empty[0]}: is empty")
        more = {"system": seed["system"]} if seed.get("system") else {}
        if seed.get("before"):
            *before, last = turns_of(inputs[self._slots[0]])
            inputs, more = {self._slots[0]: last["content"]}, more | ({"before": before} if before else {})
        if self.options.choices:
            correct, wrong = (getattr(sample, _key(self._keys, name)) for name in ("correct", "wrong"))
            choices, letter = arrange(correct, wrong, "\n".join(inputs.values()))
            return {"inputs": inputs, "answer": letter, "choices": choices, **more}
        fields: Fields = {"inputs": inputs, "answer": getattr(sample, _key(self._keys, "answer")).strip(), "choices": [], **more}
        problem = self._unreadable(fields)
        if problem:
            raise InputError(f"answer: {problem}")
        return fields

    def _written(self, fields: Fields) -> Fields:
        """The texts of the prompt as a teacher is shown them and writes them: of several turns a transcript."""
        if before := fields.get("before"):
            return {self._keys[0]: transcript([*before, {"role": "user", "content": fields["inputs"][self._slots[0]]}])}
        return {key: fields["inputs"][slot] for slot, key in zip(self._slots, self._keys, strict=True)}

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


def _key(keys: list[str], name: str) -> str:
    """A name for a field of the sample that no field of the prompt has."""
    return name if name not in keys else _key(keys, f"{name}_")


def _sample_model(keys: list[str], scorer: str) -> type[BaseModel]:
    least = 1 if len(keys) == 1 else 0  # of several some may be empty
    fields: dict[str, Any] = {key: (Annotated[str, Field(min_length=least)], ...) for key in keys}
    if scorer == "multiple_choice":
        option = Annotated[str, Field(min_length=1)]
        correct = Field(description="the one right option")
        wrong = Field(min_length=1, max_length=len(LETTERS) - 1, description="options that are plausible but clearly wrong")
        fields |= {_key(keys, "correct"): (option, correct), _key(keys, "wrong"): (list[option], wrong)}
    else:
        answer = Field(min_length=1, description="the right answer, in exactly the form of the examples")
        fields[_key(keys, "answer")] = (str, answer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a field may well be called schema or json
        return create_model("CustomSample", __config__=ConfigDict(extra="forbid"), **fields)
