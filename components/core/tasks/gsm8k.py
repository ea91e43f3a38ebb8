r"""GSM8K: word problems of grade-school arithmetic, solved in steps.

    {"question": "Melissa works on a poultry farm. She drives to town twice each month ... in a year?",
     "answer": "Melissa spends 2x3=<<2*3=6>>6 hours driving each month.\nSince there are 12 months in a year, she
                spends 6x12=<<6*12=72>>72 hours driving each year.\n#### 72"}

The marks <<...>> are left out of what the model is trained on; the last line stays, scoring reads it.
"""

import random
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.answer_first import AnswerFirst
from pada_agent.components.core.tasks.arithmetic import equations, is_right, results, rounded, value
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.task import CodeRunner, Message, Solution

_MARK = re.compile(r"<<(.*?)>>")
_STRICT = re.compile(r"#### (-?[0-9.,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_ANY_NUMBER = re.compile(r"-?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_OPERATIONS = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}
_MOST_STEPS = 6


class Gsm8kRow(BaseModel):
    """A problem and its worked solution, with calculator marks where published so."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)


class Gsm8kQuestion(BaseModel):
    """What a teacher writes to a solution that has been computed."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=40, description="a word problem about everyday things that has one number as answer")


class Gsm8kAnswer(BaseModel):
    """What a teacher writes when the answer comes first; the number is the result of its last equation."""

    model_config = ConfigDict(extra="forbid")

    steps: list[Annotated[str, Field(min_length=5)]] = Field(
        min_length=1,
        description="one sentence a step, each with its equation in figures, e.g. 'The fence takes 4 * 12 = 48 boards.'",
    )


class Gsm8kSample(Gsm8kAnswer, Gsm8kQuestion):
    """What a teacher writes in one go."""

    answer: str = Field(min_length=1, description="the result of the last step: digits only, no unit")


class Gsm8kSolution(Solution):
    """What a solver writes: without the steps a small one guesses."""

    work: str = Field(
        description="the steps, in short sentences, each with its equation in figures", json_schema_extra={"maxLength": 600}
    )
    answer: str = Field(description="the final number: digits only, no unit")


def strict_number(text: str) -> str:
    """The number after the first '#### ', without commas; '' if there is none."""
    match = _STRICT.search(text)
    return match.group(1).replace(",", "") if match else ""


def flexible_number(text: str) -> str:
    """As lm-eval's flexible-extract: the last run of digits, signs and points, without commas, dollars and a final point."""
    runs = _FLEXIBLE.findall(text)
    return runs[-1].replace(",", "").replace("$", "").removesuffix(".") if runs else ""


def last_number(text: str) -> str:
    """The last number anywhere, without commas and dollar signs; '' if there is none."""
    numbers = _ANY_NUMBER.findall(text)
    return numbers[-1].replace(",", "").replace("$", "") if numbers else ""


def same_number(a: str, b: str) -> bool:
    """Whether two texts are the same decimal number: 18 and 18.00 are."""
    try:
        return Decimal(a) == Decimal(b)
    except InvalidOperation:
        return False


class Gsm8k(AnswerFirst, Rephrasable):
    """Options: none."""

    name = "gsm8k"
    metric: ClassVar[str] = "exact match of the final number"
    description = (
        "The user gives a word problem; the answer solves it in short steps, one a line, each with its equation in "
        "figures, and ends with a line '#### ' and the final number. Scored by that number alone. Problems take two to "
        "eight steps of addition, subtraction, multiplication, division, fractions, percentages, rates or units."
    )
    max_new_tokens = 384
    Schema = Gsm8kRow
    Sample = Gsm8kSample
    Solved = Gsm8kSolution
    Answer = Gsm8kAnswer
    Question = Gsm8kQuestion
    shapes: ClassVar[str] = "things and people, operations and number of steps"
    asked_features: ClassVar[frozenset[str]] = frozenset({"percentages", "fractions", "decimals"})

    def read(self, raw: Fields) -> Fields:
        """As Task.read. Raises InputError for a solution without a final number."""
        fields = super().read(raw)
        number = strict_number(fields["answer"])
        if not same_number(number, number):
            raise InputError("answer: has no line '#### number' with the final number")
        return fields

    def messages(self, fields: Fields) -> list[Message]:
        text = f"{fields['question']}\n\nSolve it step by step. Write the final number on a last line after '#### '."
        return [{"role": "user", "content": text}]

    def target(self, fields: Fields) -> str:
        return _MARK.sub("", fields["answer"]).strip()

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        gold, strict = strict_number(fields["answer"]), strict_number(output)
        extra: dict[str, float] = {"flexible": flexible_number(output) == gold, "numeric": same_number(strict, gold)}
        if not strict:
            detail = f"no line '#### number'; the last number is {last_number(output) or 'missing'}, right is {gold}"
            return Score(correct=False, valid=False, detail=detail, extra=extra)
        if strict == gold:
            return Score(correct=True, valid=True, predicted=strict, extra=extra)
        return Score(correct=False, valid=True, predicted=strict, detail=f"{strict} instead of {gold}", extra=extra)

    def question(self, fields: Fields) -> str:
        return str(fields["question"])

    def features(self, fields: Fields) -> set[str]:
        steps, _ = _solution(fields)
        marks = _MARK.findall(fields["answer"])
        text = "\n".join(marks or steps)
        lefts = " ".join(equation.left for equation in equations(text)).translate(str.maketrans("x×·÷−–", "***/--"))
        words = f"{fields['question']} {' '.join(steps)}".lower()
        operations = {name for sign, name in _OPERATIONS.items() if re.search(rf"\d[\s%)]*{re.escape(sign)}", lefts)}
        operations.add(
            f"{len(steps)} step{'s' * (len(steps) > 1)}" if len(steps) < _MOST_STEPS else f"{_MOST_STEPS} or more steps"
        )
        if "%" in words or "percent" in words:
            operations.add("percentages")
        if re.search(r"\b(?:half|third|quarter|fourth|fifth|sixth)s?\b|\b\d/\d\b", fields["question"].lower()):
            operations.add("fractions")
        if re.search(r"\d\.\d", words):
            operations.add("decimals")
        return operations

    def sample_of(self, fields: Fields) -> Gsm8kSample:
        steps, number = _solution(fields)
        # Not validated: a training row that is shorter than a sample must be is still shown as it is.
        return Gsm8kSample.model_construct(question=fields["question"], steps=steps, answer=number)

    def fields_of(self, sample: BaseModel, seed: Fields) -> Fields:
        assert isinstance(sample, Gsm8kSample)
        number = sample.answer.strip().lstrip("$€£").replace(",", "")
        if not re.fullmatch(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)", number):
            raise InputError(f"answer: '{sample.answer}' is not a bare number")
        solution = "\n".join([*_steps(sample), f"#### {number}"])
        return self.with_question({"answer": solution}, sample)

    def answer_of(self, fields: Fields) -> Gsm8kAnswer:
        return Gsm8kAnswer.model_construct(steps=_solution(fields)[0])

    def question_of(self, fields: Fields) -> Gsm8kQuestion:
        return Gsm8kQuestion.model_construct(question=fields["question"])

    def answered(self, answer: BaseModel) -> Fields:
        assert isinstance(answer, Gsm8kAnswer)
        steps = _steps(answer)
        computed = list(equations("\n".join(steps)))
        if not computed:
            raise InputError("steps: have no equation in figures, such as 4 * 12 = 48; write one in each step")
        if computed[-1].rest.strip("() ") != computed[-1].right:
            raise InputError(f"steps: the last equation gives {computed[-1].rest}; end it with one number")
        number = re.sub(r"[^\d.-]", "", computed[-1].right)
        return {"question": "", "answer": "\n".join([*steps, f"#### {number}"])}

    def result_of(self, fields: Fields) -> str:
        return strict_number(fields["answer"])

    def with_question(self, fields: Fields, question: BaseModel) -> Fields:
        assert isinstance(question, Gsm8kQuestion)
        return {**fields, "question": " ".join(question.question.split())}

    def wording(self, fields: Fields) -> str:
        return self.question(fields)

    def with_wording(self, fields: Fields, text: str) -> Fields:
        return {**fields, "question": " ".join(text.split())}

    def verify(self, fields: Fields, run_code: CodeRunner) -> str:
        steps, number = _solution(fields)
        text = "\n".join(steps)
        for equation in equations(text):
            if not is_right(equation):
                return f"{equation.left} is not {equation.right}"
        # Vans and boxes come whole: the last step may round up or down in words.
        said = bool(steps) and re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d.,]*\d)", steps[-1])
        if value(number) not in results(text) | (rounded(text) if said else set()):
            return f"the final answer {number} is not the result of any step's equation"
        return ""

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        """Another final number, in the last step that has it too."""
        text, number = self.target(fields), strict_number(self.target(fields))
        other = str(Decimal(number) + draw.choice((-10, -2, -1, 1, 2, 10)))
        head, mark, _ = text.rpartition("####")
        before, own, after = head.rpartition(number)
        return f"{before}{other if own else ''}{after}{mark} {other}"

    def unusable(self, answer: str) -> str:
        numbers = {re.sub(r"[,$]", "", number) for number in _ANY_NUMBER.findall(answer)}
        return "" if len(numbers) == 1 else "has more than one number" if numbers else "is no number"

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        """By the number, however it is written: 18 and 18.00 are one."""
        own, found = strict_number(fields["answer"]), last_number(solution.answer)
        return Score(correct=same_number(found, own), valid=bool(found), predicted=found)


def _steps(answer: Gsm8kAnswer) -> list[str]:
    """Its steps without what belongs elsewhere. Raises InputError, as feedback."""
    steps = [" ".join(_MARK.sub("", step).split()) for step in answer.steps if not step.strip().startswith("####")]
    if not any(steps):
        raise InputError("steps: are empty; write each step with its equation")
    if any("####" in step for step in steps):
        raise InputError("steps: '####' belongs to the final line alone, which is added from answer")
    return [step for step in steps if step]


def _solution(fields: Fields) -> tuple[list[str], str]:
    text = _MARK.sub("", fields["answer"])
    steps = [line.strip() for line in text.partition("####")[0].splitlines() if line.strip()]
    return steps, strict_number(text)
