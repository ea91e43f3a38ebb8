"""A conversation as one text, for agents, and back: what a teacher writes where rows have several turns.

User: Is the museum open today?      ->   [{"role": "user", "content": "Is the museum open today?"},
Assistant: Until five.                     {"role": "assistant", "content": "Until five."},
User: And tomorrow?                        {"role": "user", "content": "And tomorrow?"}]
"""

import re
from collections.abc import Sequence

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.tasks.task import Message

_NAMES = {"user": "User", "assistant": "Assistant"}
_ROLES = {name: role for role, name in _NAMES.items()}
_BEGINS = re.compile(r"^(User|Assistant): ", re.MULTILINE)


def transcript(turns: Sequence[Message]) -> str:
    """The turns as one text; of a single one its content alone."""
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n".join(f"{_NAMES[turn['role']]}: {turn['content']}" for turn in turns)


def turns_of(text: str) -> list[Message]:
    """The turns of a transcript. Raises InputError, as feedback, unless user and assistant take turns and the user is last."""
    before, *parts = _BEGINS.split(text.strip())
    turns = [{"role": _ROLES[name], "content": said.strip()} for name, said in zip(parts[::2], parts[1::2], strict=True)]
    roles = [turn["role"] for turn in turns]
    expected = ["user", "assistant"] * len(roles)
    if before or not roles or roles != expected[: len(roles)] or roles[-1] != "user" or not all(t["content"] for t in turns):
        raise InputError(
            "write the conversation as lines that begin with 'User: ' and 'Assistant: ', by turns, the user's first and last"
        )
    return turns


def system_and_chat(messages: Sequence[Message]) -> tuple[list[str], str]:
    """What the system says, and the rest as one text: the conversation up to the answer."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    return system, transcript([message for message in messages if message["role"] != "system"])
