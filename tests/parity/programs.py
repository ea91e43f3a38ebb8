"""HumanEval: what may stand after a row's prompt, and how a chat model hands it over."""

import textwrap
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]


def _head(row: Row) -> str:
    """The prompt up to the line before the docstring: imports, helpers and the def line."""
    lines = row["prompt"].splitlines()
    start = max(n for n, line in enumerate(lines) if line.startswith(f"def {row['entry_point']}("))
    return "\n".join(lines[: start + 1]) + "\n"


def _first(line: str) -> Callable[[Row], str]:
    return lambda row: f"    {line}\n{row['canonical_solution']}"


def _after(code: str) -> Callable[[Row], str]:
    return lambda row: f"{row['canonical_solution']}\n{code}\n"


def _body(code: str) -> Callable[[Row], str]:
    return lambda row: f"    {code}\n"


COMPLETIONS: dict[str, Callable[[Row], str]] = {
    "canonical": lambda row: str(row["canonical_solution"]),
    "pass": _body("pass"),
    "None": _body("return None"),
    "its first argument": lambda row: "    return [*locals().values()][0]\n",
    "negated": lambda row: str(row["canonical_solution"]).replace("return ", "return not ", 1),
    "nothing": lambda row: "",
    "canonical, cut off": lambda row: str(row["canonical_solution"]).rstrip()[:-1],
    "canonical, whole function": lambda row: _head(row) + row["canonical_solution"],
    "pass, whole function": lambda row: _head(row) + "    pass\n",
    "canonical, then another function": _after("\ndef main():\n    return 1 / 0"),
    "canonical, then a print": _after("print('passed' * 100_000)"),
    "canonical, then an error": _after("raise ValueError('not today')"),
    "canonical, then its own main": _after("if __name__ == '__main__':\n    raise ValueError"),
    "canonical, then another check": _after("def check(candidate):\n    raise ValueError"),
    "canonical, then the end": _after("raise SystemExit(0)"),
    "exit": _body("raise SystemExit(0)"),
    "exit, called": _body("exit(0)"),
    "os._exit": _body("import os; os._exit(0)"),
    "says it passed": _body("print('passed'); return 'passed'"),
    "reads standard input": _first("input()"),
    "for ever deep": lambda row: f"    return {row['entry_point']}(*locals().values())\n",
    "for ever": _body("while True: pass"),
    "leaves a thread": _first("import threading, time; threading.Thread(target=time.sleep, args=(9,)).start()"),
}

# The reference says otherwise, and why; README.md names them.
DIFFERENT: dict[str, Callable[[Row], str]] = {
    "needs a package": _first("import numpy"),
    "asks for its folder": _first("import os; os.getcwd()"),
    "body without indent": lambda row: textwrap.dedent(row["canonical_solution"]),
}

IN_ALL_FORMS = {"canonical", "canonical, whole function"}
HANDED_OVER: dict[str, Callable[[str], str]] = {
    "bare": lambda code: code,
    "closed by a fence": lambda code: f"{code}```\nThis is how it works: `x`.\n```python\nraise ValueError\n```",
    "in a block": lambda code: f"Sure! Here it is:\n\n```python\n{code}```\nIt is tested.",
    "in a block without end": lambda code: f"```python\n{code}",
}
