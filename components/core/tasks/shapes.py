"""Rows of common forms as a prompt and its answer: what `custom` takes where its options do not name the columns.

columns    {"user query": "Where is my parcel?", "category": "delivery"}
           {"question": "2 + 2?", "options": ["3", "4"], "answer": "B"}
chat       {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
sharegpt   {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
alpaca     {"instruction": "Translate into Danish.", "input": "No entry", "output": "Ingen adgang"}

Of turns the last one of the assistant is the answer, and what stands before it its context. Each row is looked at for itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.columns import (
    ANSWERS,
    CONTEXTS,
    INPUTS,
    INSTRUCTIONS,
    OUTPUTS,
    PROMPTS,
    SYSTEMS,
    TURNS,
    column,
    columns_of,
    text_of,
    text_or_none,
)
from pada_agent.components.core.tasks.task import Message

Shape = Literal["auto", "columns", "chat", "sharegpt", "alpaca"]
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "bing", "bard"), "assistant"),
}


@dataclass(frozen=True)
class Plain:
    """A row in plain columns: `prompt` and `answer`, which is left to the scorer as it is.

    `before` are the turns before the prompt, `what` says in words where all this was found.
    """

    columns: Fields
    what: str
    before: list[Message] = field(default_factory=list)
    system: str = ""


def recognised(row: Fields) -> Shape:
    """The shape that a row has; `columns` where it has no other."""
    turns, _ = _turns(row)
    if turns:
        return "chat" if "role" in turns[0] else "sharegpt"
    return "alpaca" if column(row, INSTRUCTIONS) and column(row, OUTPUTS) else "columns"


def plain(row: Fields, shape: Shape, wanted: Sequence[str]) -> Plain:
    """`row`, of which the columns in `wanted` (prompt, answer) are looked for. Raises InputError: what is not there."""
    if shape == "auto":
        shape = recognised(row)
    if shape in ("chat", "sharegpt"):
        return _of_turns(row, shape)
    if shape == "alpaca":
        return _of_alpaca(row)
    return _of_columns(row, wanted)


def _of_columns(row: Fields, wanted: Sequence[str]) -> Plain:
    found: Fields = {}
    said = []
    answer = ""
    if "answer" in wanted:
        answer = _named(row, ANSWERS, "answer")
        found["answer"] = row[answer]
        said.append(f"answer from '{answer}'")
    if "prompt" in wanted:
        prompt = _named(row, PROMPTS, "prompt", but=(answer,))
        context = column(row, CONTEXTS)
        both = context not in ("", prompt, answer) and bool(text_or_none(row[context]))
        found["prompt"] = f"{text_of(row, context)}\n\n{text_of(row, prompt)}" if both else row[prompt]
        said.insert(
            0, f"prompt from '{context}' and '{prompt}'" if context not in ("", prompt, answer) else f"prompt from '{prompt}'"
        )
    return Plain(found, f"columns: {', '.join(said)}")


def _of_alpaca(row: Fields) -> Plain:
    instruction, more = _named(row, INSTRUCTIONS, "instruction"), column(row, INPUTS)
    answer = _named(row, OUTPUTS, "answer", but=(instruction, more))
    text = text_of(row, instruction)
    if more and (given := text_or_none(row[more])):
        text = f"{text}\n\n{given}"
    names = f"'{instruction}' and '{more}'" if more else f"'{instruction}'"
    what = f"Alpaca: prompt from {names}, answer from '{answer}'"
    return Plain({"prompt": text, "answer": row[answer]}, what, system=_system(row))


def _of_turns(row: Fields, shape: Shape) -> Plain:
    turns, where = _turns(row)
    if not turns:
        raise InputError(f"has no turns; shape {shape} needs a list of them in a column such as {TURNS[0]}; {_there(row)}")
    said: list[Message] = []
    system = [text for text in [_system(row)] if text]
    for number, turn in enumerate(turns, 1):
        role, text = _turn(turn, f"{where}, turn {number}")
        if role == "system":
            system.append(text)
        elif said and said[-1]["role"] == role:  # chat templates want user and assistant by turns
            said[-1] = {"role": role, "content": f"{said[-1]['content']}\n\n{text}"}
        elif said or role == "user":  # a greeting in front answers nobody
            said.append({"role": role, "content": text})
    while said and said[-1]["role"] != "assistant":
        said.pop()
    if len(said) < 2:
        raise InputError(f"{where}: no turn of the assistant follows one of the user; leave the row out")
    *before, prompt, answer = said
    what = f"{'OpenAI chat' if shape == 'chat' else 'ShareGPT'}: the last turn of the assistant in '{where}' is the answer"
    return Plain({"prompt": prompt["content"], "answer": answer["content"]}, what, before, "\n\n".join(system))


def _turns(row: Fields) -> tuple[list[Fields], str]:
    """The turns of a conversation and their column; a prompt and a completion in turns are one conversation."""
    for name in (column(row, TURNS), column(row, PROMPTS)):
        value = row.get(name)
        if isinstance(value, str) and value.lstrip().startswith("[{"):  # in a table's cell
            try:
                value = json.loads(value)
            except ValueError:
                continue
        if isinstance(value, list) and value and all(isinstance(turn, dict) and _keys(turn) for turn in value):
            rest = row.get(column(row, OUTPUTS)) if name == column(row, PROMPTS) else None
            return [*value, *(rest if isinstance(rest, list) else [])], name
    return [], ""


def _keys(turn: Fields) -> tuple[str, str] | None:
    return next((keys for keys in (("role", "content"), ("from", "value"), ("role", "value")) if keys[0] in turn), None)


def _turn(turn: Any, where: str) -> tuple[str, str]:
    keys = _keys(turn) if isinstance(turn, dict) else None
    role = ROLES.get(str(turn[keys[0]]).strip().lower()) if keys else None
    if not keys or not role:
        given = f"'{turn[keys[0]]}'" if keys else "missing"
        raise InputError(f"{where}: role {given} is none of system, user, assistant; tool calls are not read, leave the row out")
    content = turn.get(keys[1])
    if isinstance(content, list):  # parts, as for models that also take pictures
        if other := [part for part in content if not (isinstance(part, dict) and isinstance(part.get("text"), str))]:
            kind = other[0].get("type") if isinstance(other[0], dict) else type(other[0]).__name__
            raise InputError(f"{where}: holds a part of kind {kind}; only text is read, leave the row out")
        content = "\n".join(part["text"] for part in content)
    if not isinstance(content, str) or not content.strip():
        why = "calls a tool" if turn.get("tool_calls") or turn.get("function_call") else "has no text"
        raise InputError(f"{where}: {why}; leave the row out")
    return role, content


def _named(row: Fields, names: Sequence[str], what: str, but: Sequence[str] = ()) -> str:
    if found := column(row, names, but):
        return found
    raise InputError(f"which column is the {what}? {_there(row)}; name it as task.options.{what}")


def _there(row: Fields) -> str:
    return f"there are {columns_of(row)}"


def _system(row: Fields) -> str:
    name = column(row, SYSTEMS)
    return (text_or_none(row[name]) or "") if name else ""
