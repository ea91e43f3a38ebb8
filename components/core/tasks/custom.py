"""A user's own rows, described in the run's configuration.

    task:
      name: custom
      options:
        prompt: "Translate into {language}: {text}"     # a template, or the name of one field
        answer: translation                             # what the model is trained to write
        scorer: exact                                   # multiple_choice, numeric, regex, python, f1, rouge, json or judge
        description: Short translations of signs in a museum.

    {"language": "Danish", "text": "No entry", "translation": "Ingen adgang"}

`prompt` and `answer` may be left out where a row has a form that is known (shapes.py): chats, Alpaca, columns of usual names.
Where rows are sorted into a few kinds, `labels` names them, and may say what they mean: `labels: {spam: advertising, ham: mail}`.

The scorer (scorers/, one file each) reads the model's output and the row's answer in the same way and compares what it finds:

    numeric   the last numbers, as people write them: -1 000, 1.5e3, $12, 50 %; with `fractions: true` also 3/4
    f1 rouge  words in common, graded from 0 to 1; below `threshold` an answer is a failure, models are compared by their mean
    json      {"city": "Oslo", "days": 2}: the `fields` that count, `free_text` among them, and those `ignored`; tool calls too
    judge     an LLM, by the `rubric`, for answers without one right wording: summaries, advice; in a stage of its own
    python    a function `(output: str, answer: str) -> bool` in one file, with the standard library alone; run in the sandbox

Of several accepted answers the one nearest to the output counts. Thoughts before an answer, <think>...</think>, are not
compared: neither a model's nor those that a row teaches.
"""

import math
import random
import re
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.columns import options_in, safe_names, text_of
from pada_agent.components.core.tasks.custom_options import CustomOptions, CustomRow, complaint
from pada_agent.components.core.tasks.custom_sample import key_of, sample_model
from pada_agent.components.core.tasks.multiple_choice import INSTRUCTION, LETTERS, arrange, lettered, stated
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.scorers.accepted import answered, best
from pada_agent.components.core.tasks.scorers.judge import RUBRIC, Judge, rubric_file
from pada_agent.components.core.tasks.scorers.python import ASSET, split_place
from pada_agent.components.core.tasks.scorers.registry import load_scorer
from pada_agent.components.core.tasks.shapes import Plain, Shape, plain
from pada_agent.components.core.tasks.task import CodeRunner, Message, OptionFile, Solution
from pada_agent.components.core.tasks.turns import system_and_chat, transcript, turns_of
from pada_agent.components.core.thoughts import without_thoughts

_SLOT = re.compile(r"\{(\w(?:[\w .()/?#-]*[\w)?#])?)\}")  # a column's name may have spaces


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
            raise InputError(f"task.options: {complaint(e)}") from e
        self._looked_for = tuple(name for name in ("prompt", "answer") if not getattr(self.options, name))
        self._shape: Shape = self.options.shape if len(self._looked_for) == 2 else "columns"
        self.options = self.options.model_copy(update={name: name for name in self._looked_for})
        self._template = self.options.prompt if re.search(r"[{}\n]", self.options.prompt) else ""
        self._slots = list(dict.fromkeys(_SLOT.findall(self._template))) if self._template else [self.options.prompt]
        if not self._slots:
            raise InputError("task.options.prompt: names no field; write it as a field's name or with {field} in it")
        if self.options.rephrase and self.options.rephrase not in self._slots:
            raise InputError(f"task.options.rephrase: the prompt has no field '{self.options.rephrase}'")
        if self.options.context and (self.options.context not in self._slots or len(self._slots) == 1):
            others = "has no other field" if self.options.context in self._slots else f"has no field '{self.options.context}'"
            raise InputError(f"task.options.context: the prompt {others}; name the one that its questions are about")
        self.description = self.options.description + _told(self.options.labels)
        self.max_new_tokens = self.options.max_new_tokens
        self._scorer = load_scorer(self.options, assets)
        if isinstance(self._scorer, Judge):
            self.rubric, self.threshold = self._scorer.rubric, self.options.threshold
        self._keys = safe_names(self._slots)
        self.Sample = sample_model(self._keys, self._scorer)
        self.context = dict(zip(self._slots, self._keys, strict=True)).get(self.options.context, "")
        self.Solved = self._scorer.Solved

    @classmethod
    def option_files(cls, options: Fields) -> dict[str, OptionFile]:
        file, function = split_place(options.get("python"))
        rubric = rubric_file(options.get("rubric"))
        return {
            **({"python": OptionFile(file, ASSET, f":{function}")} if file else {}),
            **({"rubric": OptionFile(rubric, RUBRIC)} if rubric else {}),
        }

    def assets(self) -> dict[str, str]:
        return self._scorer.assets()

    def read(self, raw: Fields) -> Fields:
        """Raises InputError for a field that is missing and for an answer that the scorer could not read."""
        found, raw = self._found(raw)
        inputs = {slot: text_of(raw, slot, optional=len(self._slots) > 1) for slot in self._slots}
        if not any(inputs.values()):
            raise InputError(f"{', '.join(inputs)}: are all empty; leave the row out")
        fields: Fields = {"inputs": inputs, **self._scorer.read(raw, self.options.answer)}
        if problem := self._unreadable(fields):
            raise InputError(f"{self.options.answer}: {problem}")
        more = {"before": found.before, "system": found.system} if found else {}
        return fields | {name: value for name, value in more.items() if value} | self._human_score(raw)

    def recognised(self, raw: Fields) -> str:
        found, raw = self._found(raw)
        said = [found.what] if found else []
        if self._lettered and not self.options.choices:
            said.append(f"options from {options_in(raw, None).where}")
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
        said = without_thoughts(output) or ""
        return best(fields, lambda row: self._scorer.score(row, said, run_code))

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

    def references(self, fields: Fields) -> list[str]:
        return [self.reference(row) for row in answered(fields)]

    def private_texts(self, fields: Fields) -> list[str]:
        """The prompt's fields; one that is short and common (a language's name) says nothing."""
        texts = [*fields["inputs"].values(), *(turn["content"] for turn in fields.get("before", []))]
        return [text for text in texts if len(text.split()) > 3] or [self.question(fields)]

    def options_of(self, fields: Fields) -> list[str]:
        return list(self.options.labels) or list(LETTERS[: len(fields["choices"])])

    def features(self, fields: Fields) -> set[str]:
        """The row's label, where there are labels: failures are counted by it, and examples asked for with it."""
        if not self.options.labels:
            return set()
        label = _labels(fields)[0]
        meaning = self.options.labels[label]
        return {f"the answer '{label}'{f' ({meaning})' if meaning else ''}"}

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        """Another option or label; of other answers nothing is known."""
        others = [option for option in self.options_of(fields) if option not in _labels(fields)]
        return self.reference({**fields, "answer": draw.choice(others)}) if others else ""

    def sample_of(self, fields: Fields) -> BaseModel:
        # Not validated: a training row that is shorter than a sample must be is still shown as it is.
        if not fields["choices"]:
            parts = {**self._written(fields), key_of(self._keys, "answer"): fields["answer"]}
            return self.Sample.model_construct(**{name: parts[name] for name in self.Sample.model_fields})
        right = fields["choices"][LETTERS.index(fields["answer"])]
        wrong = [choice for choice in fields["choices"] if choice != right]
        answers = {key_of(self._keys, "correct"): right, key_of(self._keys, "wrong"): wrong}
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
        if self._lettered:
            correct, wrong = (getattr(sample, key_of(self._keys, name)) for name in ("correct", "wrong"))
            choices, letter = arrange(correct, wrong, "\n".join(inputs.values()))
            return {"inputs": inputs, "answer": letter, "choices": choices, **more}
        answer = getattr(sample, key_of(self._keys, "answer")).strip()
        fields: Fields = {"inputs": inputs, "answer": answer, "choices": [], **more}
        if problem := self._unreadable(fields):
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
        return "" if score.correct or score.pending else f"the scorer refuses the answer itself: {score.detail}"

    def unusable(self, answer: str) -> str:
        return self._scorer.unusable(answer)

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        return best(fields, lambda row: self._scorer.agrees(row, solution, run_code))

    @property
    def _lettered(self) -> bool:
        return self.options.scorer == "multiple_choice"

    def _found(self, raw: Fields) -> tuple[Plain | None, Fields]:
        """What a row was taken for, if columns are looked for, and the row with them."""
        found = plain(raw, self._shape, self._looked_for) if self._looked_for else None
        return found, {**raw, **found.columns} if found else raw

    def _human_score(self, raw: Fields) -> Fields:
        """Raises InputError for one that is no number."""
        field = self.options.human_score
        if not field or raw.get(field) in (None, ""):
            return {}
        try:
            score = float(raw[field])
        except (TypeError, ValueError):
            score = math.nan
        if not math.isfinite(score):
            raise InputError(f"{field}: {raw[field]!r} is no number; correct it, or leave it empty")
        return {"human_score": score}

    def _unreadable(self, fields: Fields) -> str:
        """Why an answer that is accepted cannot be scored by; '' if all can."""
        return next((problem for row in answered(fields) if (problem := self._scorer.complaint(row))), "")

    def _written(self, fields: Fields) -> Fields:
        """The texts of the prompt as a teacher is shown them and writes them: of several turns a transcript."""
        if before := fields.get("before"):
            return {self._keys[0]: transcript([*before, {"role": "user", "content": fields["inputs"][self._slots[0]]}])}
        return {key: fields["inputs"][slot] for slot, key in zip(self._slots, self._keys, strict=True)}


def _labels(fields: Fields) -> list[str]:
    """The answers that a row accepts as they are named among labels, or its letter; the row's own first."""
    return [" ".join(str(row["answer"]).split()) for row in answered(fields)]


def _told(labels: dict[str, str]) -> str:
    heading = "What the answers mean" if any(labels.values()) else "The answers there are"
    lines = "".join(f"\n- {label}{f': {meaning}' if meaning else ''}" for label, meaning in labels.items())
    return f"\n{heading}:{lines}" if labels else ""
