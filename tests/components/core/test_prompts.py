"""Prompts in files."""

import re
from pathlib import Path

import pytest
from jinja2 import Environment, UndefinedError, meta

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.prompts import Prompts, package_prompts

PROMPTS = sorted(Path(__file__).parents[3].glob("components/*/prompts/*.txt"))


@pytest.mark.parametrize("path", PROMPTS, ids=lambda p: p.stem)
def test_the_header_names_exactly_the_variables_the_prompt_uses(path):
    head, body = path.read_text().split("#}", 1)
    named = set(re.findall(r"\w+", re.sub(r"\([^)]*\)", "", head.split("Variables:")[1])))
    used = meta.find_undeclared_variables(Environment(autoescape=True).parse(body))
    assert used == named


def test_a_prompt_is_a_chat_and_a_missing_variable_is_an_error():
    asked = {"task": "Sums.", "instructions": [], "examples": [], "form": [{"name": "answer", "description": "a letter"}]}
    chat = Prompts().render("control_quality", "solve", prompt="2 + 2? A. 4 B. 5", labels=["A", "B"], **asked)
    assert [m["role"] for m in chat] == ["system", "user"]
    assert chat[1]["content"] == "2 + 2? A. 4 B. 5\nLabels: A, B\n\nReply with the JSON alone."
    with pytest.raises(UndefinedError):
        Prompts().render("control_quality", "solve", prompt="2 + 2? A. 4 B. 5")


def test_each_file_has_a_name_of_its_own():
    """A user's folder has one file for each, whatever the stage."""
    assert package_prompts() == {path.name: path.parts[-3] for path in sorted(PROMPTS, key=lambda path: path.name)}
    assert len(package_prompts()) == len(PROMPTS)


def test_a_users_own_comes_in_its_place_and_says_what_cannot_be_filled_in():
    own = Prompts({"solve.txt": "=== user\nMine: {{ prompt }}"})
    assert own.render("control_quality", "solve", prompt="?", labels=["A"]) == [{"role": "user", "content": "Mine: ?"}]
    assert own.render("control_quality", "judge", task="t", items=[], strategy="", parents=[], asked=5)[0]["role"] == "system", (
        "no other"
    )
    for wrong in ("{{ nothing }}", "{{ prompt + 1 }}", "{% if %}"):
        with pytest.raises(InputError, match=r"^prompts: solve.txt cannot be filled in \("):
            Prompts({"solve.txt": f"=== user\n{wrong}"}).render("control_quality", "solve", prompt="?")


@pytest.mark.parametrize(
    "attempt",
    [
        "{{ prompt.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ labels.append(1) }}",
        "{{ self.__init__ }}",
    ],
)
def test_a_users_own_reaches_nothing_that_it_is_not_given(attempt):
    labels = ["A"]
    with pytest.raises(InputError, match="cannot be filled in"):
        Prompts({"solve.txt": f"=== user\n{attempt}"}).render("control_quality", "solve", prompt="?", labels=labels)
    assert labels == ["A"]
