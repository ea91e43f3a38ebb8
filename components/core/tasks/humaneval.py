r"""HumanEval: finish a Python function from its signature and docstring; scored by running its tests.

    {"task_id": "HumanEval/48", "entry_point": "is_palindrome",
     "prompt": "def is_palindrome(text: str):\n    \"\"\"\n    Checks if given string is a palindrome ...",
     "canonical_solution": "    for i in range(len(text)): ...",
     "test": "def check(candidate):\n    assert candidate('') == True ..."}

The model answers in a chat, with the function in a fenced block. The program that runs is prompt + answer + test +
`check(entry_point)`, as in openai/human-eval; code without the function's `def` line counts as its body.
"""

import ast
import inspect
import re
import textwrap
import warnings
from contextlib import suppress
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.answer_first import AnswerFirst
from pada_agent.components.core.tasks.code_features import code_features, plain_code
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.task import CodeResult, CodeRunner, Message, Solution

SECONDS = 3.0  # of one program, as in openai/human-eval
SHOWN_TESTS = 5
MOST_TESTS = 3  # of a solver
_FENCE = re.compile(r"^[ \t]*```[ \t]*(?:python3?|py)?[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE)


Tests = Annotated[
    list[Annotated[str, Field(min_length=8)]],
    Field(
        min_length=3,
        description="tests, each one line 'assert name(arguments) == expected', special cases among them",
    ),
]


class HumanEvalRow(BaseModel):
    """As published, without the id."""

    prompt: str = Field(min_length=1)
    entry_point: str = Field(min_length=1)
    canonical_solution: str = Field(min_length=1)
    test: str = Field(min_length=1)


class HumanEvalSample(BaseModel):
    """What a teacher writes in one go."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(
        min_length=60,
        description="one complete Python function: def line with type hints, a docstring that says exactly what it does "
        "with an example, then the code; imports above it if needed",
    )
    tests: Tests


class HumanEvalAnswer(BaseModel):
    """What a teacher writes when the answer comes first."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(
        min_length=30,
        description="one complete Python function without a docstring: def line with type hints, the code below it; imports "
        "above it if needed",
    )
    tests: Tests


class HumanEvalQuestion(BaseModel):
    """What a teacher writes to a function that passes its tests."""

    model_config = ConfigDict(extra="forbid")

    docstring: str = Field(min_length=15, description="the function's docstring: says exactly what it does, with an example")


class HumanEvalSolution(Solution):
    """What a solver writes."""

    work: str = Field(default="", description="in a few words, how it is done", json_schema_extra={"maxLength": 160})
    answer: str = Field(description="the whole function as Python code, without a docstring")
    tests: list[str] = Field(
        default_factory=list,
        description="two tests of what the docstring says, each one line 'assert name(arguments) == expected'",
        json_schema_extra={"items": {"type": "string", "maxLength": 160}, "maxItems": MOST_TESTS},
    )


class HumanEval(AnswerFirst, Rephrasable):
    """Options: none."""

    name = "humaneval"
    rephrased = "the docstring of a Python function"
    metric: ClassVar[str] = "tests passed (pass@1)"
    needs_sandbox: ClassVar[bool] = True
    description = (
        "The user gives the signature and docstring of a Python function; the answer is the complete function in a "
        "```python block. Scored by running hidden tests. Functions are short (2 to 20 lines), use the standard library "
        "alone and work on numbers, strings and lists."
    )
    max_new_tokens = 512
    Schema = HumanEvalRow
    Sample = HumanEvalSample
    Solved = HumanEvalSolution
    Answer = HumanEvalAnswer
    Question = HumanEvalQuestion
    shapes: ClassVar[str] = "inputs, constructs and what is computed"

    def read(self, raw: Fields) -> Fields:
        """As Task.read. Raises InputError for code that is no Python or lacks the function."""
        fields = super().read(raw)
        try:
            whole = fields["prompt"] + fields["canonical_solution"]
            entry, _ = _entry(_parse(whole), fields["entry_point"])
        except (SyntaxError, ValueError) as e:
            raise InputError(f"prompt with canonical_solution: is no Python ({e})") from e
        try:
            _parse(fields["test"])
        except (SyntaxError, ValueError) as e:
            raise InputError(f"test: is no Python ({e})") from e
        if entry is None:
            raise InputError(f"entry_point: the prompt defines no function '{fields['entry_point']}'")
        return fields

    def messages(self, fields: Fields) -> list[Message]:
        text = (
            f"Complete this Python function. Reply with the whole function in a ```python block.\n\n{_fenced(fields['prompt'])}"
        )
        return [{"role": "user", "content": text}]

    def target(self, fields: Fields) -> str:
        """The function without the docstring: the model need not learn to repeat what it was given."""
        whole = fields["prompt"] + fields["canonical_solution"]
        tree = _parse(whole)
        entry, position = _entry(tree, fields["entry_point"])
        assert entry is not None
        imports = [node for node in tree.body[:position] if isinstance(node, ast.Import | ast.ImportFrom)]
        above = "".join(f"{ast.unparse(node)}\n" for node in imports)
        return _fenced((above + "\n\n" if above else "") + _without_docstring(whole, entry))

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        code = read_code(output, fields["entry_point"])
        program = f"{fields['prompt']}\n{code}"
        try:
            _parse(program)
        except (SyntaxError, ValueError) as e:
            return Score(correct=False, valid=False, predicted=code, detail=f"is no Python: {e}")
        if not code.strip():
            return Score(correct=False, valid=False, detail="empty")
        result = run_code(f"{program}\n{fields['test']}\ncheck({fields['entry_point']})", SECONDS)
        return Score(correct=result.passed, valid=True, predicted=code, detail=result.detail)

    def question(self, fields: Fields) -> str:
        return str(fields["prompt"]).strip()

    def reference(self, fields: Fields) -> str:
        return _without_fence(self.target(fields))

    def features(self, fields: Fields) -> set[str]:
        entry, _ = _entry(_parse(fields["prompt"] + fields["canonical_solution"]), fields["entry_point"])
        return code_features(entry, fields["entry_point"]) if entry else set()

    def sample_of(self, fields: Fields) -> HumanEvalSample:
        # Not validated: a training row that is shorter than a sample must be is still shown as it is.
        return HumanEvalSample.model_construct(
            code=(fields["prompt"] + fields["canonical_solution"]).strip(),
            tests=_plain_asserts(fields["test"], fields["entry_point"])[:SHOWN_TESTS],
        )

    def fields_of(self, sample: BaseModel, seed: Fields) -> Fields:
        assert isinstance(sample, HumanEvalSample)
        code = _without_fence(sample.code).strip() + "\n"
        entry = _last_function(code)
        if len(ast.get_docstring(entry) or "") < 15 or len(entry.body) < 2:
            raise InputError("code: the function needs a docstring that says what it does, and code below it")
        if not sample.tests:
            raise InputError("tests: there are none")
        return _fields(code, entry, entry.body[0].end_lineno or 0, sample.tests)

    def answer_of(self, fields: Fields) -> HumanEvalAnswer:
        code, tests = _without_fence(self.target(fields)), self.sample_of(fields).tests
        return HumanEvalAnswer.model_construct(code=code, tests=tests)

    def question_of(self, fields: Fields) -> HumanEvalQuestion:
        entry, _ = _entry(_parse(fields["prompt"] + fields["canonical_solution"]), fields["entry_point"])
        docstring = entry and _docstring(entry)
        text = docstring.value.value if isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant) else ""
        return HumanEvalQuestion.model_construct(docstring=inspect.cleandoc(str(text)))

    def answered(self, answer: BaseModel) -> Fields:
        assert isinstance(answer, HumanEvalAnswer)
        code = _without_fence(answer.code).strip() + "\n"
        entry = _last_function(code)
        if docstring := _docstring(entry):
            lines = code.splitlines(keepends=True)
            code = "".join([*lines[: docstring.lineno - 1], *lines[docstring.end_lineno :]])
            entry = _last_function(code)
        first = entry.body[0]
        begins = min(node.lineno for node in (first, *getattr(first, "decorator_list", ())))
        fields = _fields(code, entry, begins - 1, answer.tests)
        if not _documented(fields, "A docstring fits in."):
            raise InputError("code: write the code below the def line")
        return fields

    def result_of(self, fields: Fields) -> str:
        return "it passes its tests"

    def with_question(self, fields: Fields, question: BaseModel) -> Fields:
        assert isinstance(question, HumanEvalQuestion)
        text = inspect.cleandoc(question.docstring.strip().removeprefix('"""').removesuffix('"""'))
        if '"""' in text or len(text) < 15:
            raise InputError("docstring: write what the function does, without quotes around it")
        if not (prompt := _documented(fields, text)):
            raise InputError("docstring: is none that Python reads; write plain text")
        return {**fields, "prompt": prompt}

    def wording(self, fields: Fields) -> str:
        return str(self.question_of(fields).docstring)

    def with_wording(self, fields: Fields, text: str) -> Fields:
        """Raises InputError, as Task's, also for a row without a docstring."""
        entry, _ = _entry(_parse(fields["prompt"] + fields["canonical_solution"]), fields["entry_point"])
        docstring = _docstring(entry) if entry else None
        if docstring is None:
            raise InputError("text: the function has no docstring that could be put into other words")
        lines = fields["prompt"].splitlines(keepends=True)
        bare = "".join([*lines[: docstring.lineno - 1], *lines[docstring.end_lineno or 0 :]])
        return self.with_question({**fields, "prompt": bare}, HumanEvalQuestion.model_construct(docstring=text))

    def verify(self, fields: Fields, run_code: CodeRunner) -> str:
        rest = f"{fields['test']}\ncheck({fields['entry_point']})"
        result = run_code(f"{fields['prompt']}{fields['canonical_solution']}\n{rest}", SECONDS)
        if not result.passed:
            return f"the function fails its own tests: {result.detail}"
        if run_code(f"{fields['prompt']}\n{_indent(fields)}pass\n{rest}", SECONDS).passed:
            return "an empty function passes the tests too; test what the function gives back"
        return ""

    def same_answer(self, fields: Fields) -> str:
        entry, _ = _entry(_parse(fields["prompt"] + fields["canonical_solution"]), fields["entry_point"])
        with suppress(RecursionError):  # 1+1+1+...: equal to none
            return plain_code(entry) if entry else ""
        return ""

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        """The solver's function passes the sample's tests, and the sample's function those of the solver that its own passes."""
        score = self.score(fields, solution.answer, run_code)
        if not score.correct:
            return score
        own, theirs = fields["prompt"] + fields["canonical_solution"], f"{fields['prompt']}\n{score.predicted}"

        def ran(code: str, test: str) -> CodeResult:
            return run_code(f"{code}\n{_check([test])}\ncheck({fields['entry_point']})", SECONDS)

        for test in _usable_tests(getattr(solution, "tests", []), fields["entry_point"]):
            result = ran(own, test)
            if not result.passed and ran(theirs, test).passed:
                return score.model_copy(update={"correct": False, "detail": f"fails the solver's test '{test}': {result.detail}"})
        return score


def read_code(output: str, name: str) -> str:
    """The answer's code, to be put after the prompt; '' if there is none.

    The first fenced block, or all up to a stray fence. A block without `def name` is the body of the function.
    """
    defines = re.compile(rf"^[ \t]*(?:async )?def {re.escape(name)}\b", re.MULTILINE).search
    fenced, before = _FENCE.search(output), output.partition("```")[0]
    closes = fenced and not defines(fenced.group(1)) and (re.match(r"[ \t]+\S", before) or defines(before))
    code = fenced.group(1) if fenced and not closes else before
    if defines(code):
        return textwrap.dedent(code)
    body = code.strip("\n")
    return body if re.match(r"[ \t]", body) else textwrap.indent(body, "    ")


def _indent(fields: Fields) -> str:
    """What stands before the first statement of a row's function."""
    first = next((line for line in str(fields["canonical_solution"]).splitlines() if line.strip()), "")
    return first[: len(first) - len(first.lstrip())]


def _parse(source: str) -> ast.Module:
    """ast.parse without Python's remarks on what models write, such as '\\d' in a plain string.

    Raises SyntaxError or ValueError, also for what is nested too deep.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (RecursionError, MemoryError) as e:
            raise SyntaxError("nested too deep") from e


def _entry(tree: ast.Module, name: str) -> tuple[ast.FunctionDef | None, int]:
    for position, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node, position
    return None, 0


def _fenced(code: str) -> str:
    return f"```python\n{code.strip()}\n```"


def _without_fence(text: str) -> str:
    fenced = _FENCE.search(text)
    return fenced.group(1).strip() if fenced else text


def _docstring(entry: ast.FunctionDef) -> ast.stmt | None:
    """The docstring's statement; in one published row an import stands before it."""
    for node in entry.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return node
    return None


def _without_docstring(source: str, entry: ast.FunctionDef) -> str:
    lines, docstring = source.splitlines(), _docstring(entry)
    head = lines[entry.lineno - 1 : (docstring.lineno - 1 if docstring else entry.end_lineno)]
    tail = lines[docstring.end_lineno : entry.end_lineno] if docstring else []
    return "\n".join([*head, *tail])


def _last_function(code: str) -> ast.FunctionDef:
    """The function that a teacher's code ends with. Raises InputError, as feedback."""
    try:
        tree = _parse(code)
    except (SyntaxError, ValueError) as e:
        raise InputError(f"code: is no Python ({e})") from e
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.FunctionDef):
        raise InputError("code: must end with one function, without calls or prints after it")
    return last


def _fields(code: str, entry: ast.FunctionDef, prompt_lines: int, tests: list[str]) -> Fields:
    """A row whose prompt is the first lines of the code. Raises InputError for tests that are none."""
    if not tests:
        raise InputError("tests: there are none")
    checked = [_checked_test(test, entry.name) for test in tests]
    lines = code.splitlines(keepends=True)
    solution = "".join(lines[prompt_lines:])
    if not solution.strip():
        raise InputError("code: write the code below the docstring, on lines of its own")
    return {
        "prompt": "".join(lines[:prompt_lines]),
        "entry_point": entry.name,
        "canonical_solution": solution,
        "test": _check(checked),
    }


def _documented(fields: Fields, text: str) -> str:
    """The prompt with a docstring at its end; '' if the function would be none with it."""
    raw = "r" if "\\" in text else ""
    prompt: str = fields["prompt"] + textwrap.indent(f'{raw}"""\n{text}\n"""\n', _indent(fields))
    try:
        entry, _ = _entry(_parse(prompt + fields["canonical_solution"]), fields["entry_point"])
    except (SyntaxError, ValueError):
        return ""
    return prompt if entry and _docstring(entry) else ""


def _plain_asserts(test: str, name: str) -> list[str]:
    """The assert statements on the candidate that stand alone in `check`, on the function's own name."""
    examples = []
    for function in [node for node in _parse(test).body if isinstance(node, ast.FunctionDef)]:
        for node in function.body:
            names = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n.id == "candidate"]
            if isinstance(node, ast.Assert) and names:
                for used in names:
                    used.id = name
                node.msg = None
                examples.append(ast.unparse(node))
    return examples


def _check(tests: list[str]) -> str:
    return "def check(candidate):\n" + textwrap.indent("\n".join(tests), "    ") + "\n"


def _usable_tests(tests: list[str], name: str) -> list[str]:
    """A solver's tests without those that are none, and not more than it was asked for."""
    usable = []
    for test in tests:
        with suppress(InputError):
            usable.append(_checked_test(test, name))
    return usable[:MOST_TESTS]


def _checked_test(test: str, name: str) -> str:
    """A teacher's test with `candidate` for the function. Raises InputError, as feedback."""
    try:
        body = _parse(test.strip()).body
    except (SyntaxError, ValueError) as e:
        raise InputError(f"tests: '{test}' is no Python ({e})") from e
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        raise InputError(f"tests: '{test}' is not one assert statement")
    names = [node for node in ast.walk(body[0]) if isinstance(node, ast.Name) and node.id == name]
    if not names:
        raise InputError(f"tests: '{test}' does not call {name}")
    for used in names:
        used.id = "candidate"
    try:
        return ast.unparse(body[0])
    except (RecursionError, ValueError) as e:
        raise InputError(f"tests: '{test}' is nested too deep; write a simpler one") from e
