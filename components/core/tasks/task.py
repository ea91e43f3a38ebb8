"""What a task is: how a row is read, asked, answered and scored. Every file beside this one follows it."""

import random
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.prompts import Prompts
from pada_agent.components.core.records import Fields, Score

Message = dict[str, str]
Order = Literal["question_first", "answer_first"]


class CodeResult(BaseModel):
    """Outcome of one sandboxed program."""

    passed: bool
    detail: str = ""


class CodeRunner(Protocol):
    """Runs a Python program in the sandbox; passed means that it came to its end (not: exit status 0)."""

    def __call__(self, program: str, seconds: float) -> CodeResult: ...


class Solution(BaseModel):
    """What a solver replies who is not shown the answer. It is told the descriptions, and writes in the order of the fields."""

    model_config = ConfigDict(str_strip_whitespace=True, coerce_numbers_to_str=True)

    work: str = Field(default="", description="in a few words, what decides the answer", json_schema_extra={"maxLength": 240})
    answer: str = Field(description="the answer alone, in the form that is asked for")


class OptionFile(NamedTuple):
    """A file that an option names: where it is, its name among the data's assets, and what the option says behind it."""

    address: str
    asset: str
    rest: str = ""


class Task(ABC):
    """Base of all tasks. Methods take a row's `fields`, checked by `check`; they raise nothing on model output."""

    name: ClassVar[str]
    metric: ClassVar[str]  # what `correct` means, e.g. "exact match"
    needs_sandbox: ClassVar[bool] = False
    order: ClassVar[Order] = "question_first"  # of what a teacher writes, unless settings say otherwise
    rubric: str = ""  # by which an LLM scores answers (score_answers); '' where `score` does
    threshold: float = 0.0  # with a rubric: the grade, 0 to 1, below which an answer is a failure
    description: str  # told to the teacher: what is asked, what a good answer is
    max_new_tokens: int
    Schema: type[BaseModel]  # of `fields`
    Sample: type[BaseModel]  # of what a teacher writes; how long it may be, the training rows say (generate_data)
    context: str = ""  # field of a `Sample` with the text that its question is about, if there is one
    Solved: type[Solution] = Solution  # of what a solver writes; `answer` is given its bound by max_new_tokens
    prompts = Prompts()  # that agents are sent in this run

    def __init__(self, options: Fields, assets: Path | None = None) -> None:
        """`options` is TaskSettings.options; `assets` the folder of files that came with the data (a database, a scorer).

        Raises InputError for an option that the task does not take; here: for any.
        """
        if options:
            raise InputError(f"task.options: '{min(options)}' is not known; {self.name} takes none")

    # reading
    def read(self, raw: Fields) -> Fields:
        """The fields of a row as published, brought to `Schema`. Raises InputError with the key and what is wrong."""
        try:
            return self.Schema.model_validate({k: v for k, v in raw.items() if k in self.Schema.model_fields}).model_dump()
        except ValidationError as e:
            first = e.errors()[0]
            raise InputError(f"{'.'.join(map(str, first['loc'])) or 'row'}: {first['msg']}") from e

    def recognised(self, raw: Fields) -> str:
        """In a line what a row as published was taken for, '' where the options say it all. Raises InputError as `read` does."""
        return ""

    def group(self, raw: Fields) -> str:
        """Rows of one group are not independent and never stand in two held-out splits. Default: each its own."""
        return ""

    @classmethod
    def option_files(cls, options: Fields) -> dict[str, OptionFile]:
        """The files that the options name, by option. Opens nothing; what an option should not be, __init__ says."""
        return {}

    def assets(self) -> dict[str, str]:
        """Texts of the files that must travel with the data, by their names in the assets folder."""
        return {}

    # asking and answering
    @abstractmethod
    def messages(self, fields: Fields) -> list[Message]:
        """The chat the SLM gets, without the answer."""

    @abstractmethod
    def target(self, fields: Fields) -> str:
        """The completion the SLM is trained to give."""

    @abstractmethod
    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        """The verdict on one output; with a `rubric` it is pending.

        `score(fields, target(fields))` is correct or pending, `score(fields, "")` is neither.
        """

    # what agents see
    def describe(self, draw: str) -> str:
        """`description`, where it shows values by way of example with others for each `draw` (any text; alike for the same)."""
        return self.description

    @abstractmethod
    def question(self, fields: Fields) -> str:
        """What is asked, without boilerplate: shown to agents, embedded, and compared for duplicates."""

    def reference(self, fields: Fields) -> str:
        """The right answer as agents see it."""
        return self.target(fields)

    def references(self, fields: Fields) -> list[str]:
        """All right answers that the row has, as agents see them."""
        return [self.reference(fields)]

    def private_texts(self, fields: Fields) -> list[str]:
        """Texts of a held-out row that must not turn up in training data: question and, if telling, context and answer."""
        return [self.question(fields)]

    def features(self, fields: Fields) -> set[str]:
        """What a row takes to solve, as a parser can tell (SQL clauses, reasoning steps). Empty: cannot tell."""
        return set()

    # synthetic data
    @abstractmethod
    def sample_of(self, fields: Fields) -> BaseModel:
        """A training row in the form the teacher writes: the example in the prompt."""

    @abstractmethod
    def fields_of(self, sample: BaseModel, seed: Fields) -> Fields:
        """A teacher's sample as fields. Raises InputError with what is wrong, as feedback to the teacher."""

    def verify(self, fields: Fields, run_code: CodeRunner) -> str:
        """Why the sample's own answer is wrong, '' if it is right or nobody can tell by running it."""
        return ""

    def options_of(self, fields: Fields) -> list[str]:
        """Labels of a multiple-choice row, of which a solver gives one; empty for other tasks."""
        return []

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        """Whether who solved a sample blind came to the sample's own answer. Default: the answer is scored as the SLM's is."""
        return self.score(fields, solution.answer, run_code)

    def unusable(self, answer: str) -> str:
        """Why a solver's answer cannot be compared, which it is told and asked again; '' if it can or only a sandbox tells."""
        return "" if answer else "is empty"

    def gives(self, answer: str) -> str:
        """What running an answer gives, in a line for people and agents; '' where nothing is run, or its text says it."""
        return ""

    def shown(self, fields: Fields) -> str:
        """All that an answer may depend on, for a judge. Default: the question, where it holds all that the SLM is shown."""
        return self.question(fields)

    def same_answer(self, fields: Fields) -> str:
        """What an answer is in whatever words: equal for two rows that teach one thing. '' where equal answers say nothing.

        A letter, a number or a label answers many questions; a query or a program answers one.
        """
        return ""

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        """A reference that is wrong by one detail, as a careless writer would be; '' if none is known. It measures judges."""
        return ""
