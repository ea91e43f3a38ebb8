"""A user's scoring function, kept as the text of its file and run in the sandbox.

    def close_enough(output: str, answer: str) -> bool:
        return abs(float(output) - float(answer)) < 0.1

Named `scorers.py:close_enough`, a path or URI, or `package.module:close_enough`, an import path. One file either way: it
travels with the data, and nothing but the standard library is there where it runs.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.scorers.options import ScorerOptions
from pada_agent.components.core.tasks.scorers.scorer import Finding
from pada_agent.components.core.tasks.task import CodeRunner

ASSET = "scorer.py"
SECONDS = 5.0  # of one call
_OPTION = "task.options.python"
_IN_FILE = re.compile(r"(.+\.py):([A-Za-z_]\w*)")
_PROGRAM = """
space = {{"__name__": "scorer"}}
exec(compile({source!r}, "scorer.py", "exec"), space)
if not space[{function!r}]({output!r}, {answer!r}):
    raise AssertionError("the scorer says no")
"""


class Python(Finding):
    """Reads the function's file; from `assets`, where it went with the data, if they are given."""

    def __init__(self, options: ScorerOptions, assets: Path | None = None) -> None:
        """Raises InputError when there is no such file, module or function."""
        super().__init__(options, assets)
        name, _, self.function = options.python.rpartition(":")
        file = assets / ASSET if assets else _file(name)
        try:
            self.source = file.read_text(encoding="utf-8")
            compile(self.source, name, "exec")
        except OSError as e:
            raise InputError(f"{_OPTION}: {file}: cannot be read ({e.strerror}); give the address of a Python file") from e
        except (UnicodeDecodeError, SyntaxError, ValueError) as e:
            raise InputError(f"{_OPTION}: {name}: not Python that can be read ({e}); correct the file") from e
        defined = rf"^(?:def|from|import)\b.*\b{self.function}\b|^{self.function}\s*="
        if not re.search(defined, self.source, re.MULTILINE):
            raise InputError(f"{_OPTION}: {name} defines no function '{self.function}'")

    def assets(self) -> dict[str, str]:
        return {ASSET: self.source}

    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        program = _PROGRAM.format(source=self.source, function=self.function, output=output, answer=fields["answer"])
        result = run_code(program, SECONDS)
        return Score(correct=result.passed, valid=True, predicted=found, detail=result.detail)


def split_place(place: object) -> tuple[str, str]:
    """File and function of `scorers.py:close_enough`; empty for an import path and for what is neither."""
    found = _IN_FILE.fullmatch(place) if isinstance(place, str) else None
    return (found[1], found[2]) if found else ("", "")


def _file(name: str) -> Path:
    if name.endswith(".py"):
        return Path(name)
    try:
        spec = find_spec(name)
    except (ImportError, ValueError) as e:
        raise InputError(f"{_OPTION}: there is no module '{name}' ({e})") from e
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise InputError(f"{_OPTION}: there is no module '{name}' that is one Python file")
    return Path(spec.origin)
