"""Prompts in files."""

import re
from pathlib import Path

import pytest
from jinja2 import Environment, UndefinedError, meta

from pada_agent.components.core.prompts import Prompts

PROMPTS = sorted(Path(__file__).parents[3].glob("components/*/prompts/*.txt"))


@pytest.mark.parametrize("path", PROMPTS, ids=lambda p: p.stem)
def test_the_header_names_exactly_the_variables_the_prompt_uses(path):
    head, body = path.read_text().split("#}", 1)
    named = set(re.findall(r"\w+", re.sub(r"\([^)]*\)", "", head.split("Variables:")[1])))
    used = meta.find_undeclared_variables(Environment(autoescape=True).parse(body))
    assert used == named


def test_a_prompt_is_a_chat_and_a_missing_variable_is_an_error():
    chat = Prompts().render("control_quality", "solve", question="2 + 2? A. 4 B. 5", labels=["A", "B"])
    assert [m["role"] for m in chat] == ["system", "user"]
    assert chat[1]["content"] == "2 + 2? A. 4 B. 5\nLabels: A, B"
    with pytest.raises(UndefinedError):
        Prompts().render("control_quality", "solve", question="?")
