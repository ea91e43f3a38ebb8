"""What a user may put in the place of the package's prompts, and what is said of what cannot take it."""

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.prompt_check import check_names, checked, left_out
from pada_agent.components.core.prompts import Prompts, package_prompts, package_text

OWN = """{# Mine. #}
=== system
You are strict.
=== user
{% for i in items %}
{{ loop.index }}. {{ i.question }} -> {{ i.reference }}
{% endfor %}
"""
ROLES = "the last must be '=== user'"


def complaint(text: str | bytes, name: str = "judge.txt") -> str:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(InputError) as caught:
        checked(name, content, f"/p/{name}")
    assert str(caught.value).startswith(f"prompts: /p/{name}") and "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"prompts: /p/{name}")


@pytest.mark.parametrize("name", package_prompts())
def test_the_packages_own_are_well(name: str) -> None:
    assert checked(name, package_text(name).encode(), name) == package_text(name)
    assert left_out(name, package_text(name)) == []


@pytest.mark.parametrize("name", package_prompts())
def test_what_a_request_is_about_must_be_in_it(name: str) -> None:
    assert ": does not use " in complaint("=== system\n{{ task }}\n=== user\nGo on.", name) or name == "solve.txt"


def test_what_it_may_do_without_is_known() -> None:
    assert checked("judge.txt", OWN.encode(), "x") == OWN
    assert left_out("judge.txt", OWN) == ["asked", "parents", "strategy", "task"]
    without = (
        OWN.replace("{% for i in items %}", "").replace("{% endfor %}", "").replace("{{ i.question }} -> {{ i.reference }}", "")
    )
    assert complaint(without.replace("{{ loop.index }}", "{{ strategy }}")).startswith(
        ": does not use items, which control_quality asks about; write {{ items }}"
    )


def test_what_is_read_of_a_variable_itself_must_be_there() -> None:
    text = "=== user\n{{ strategy.upper() }} {{ count }} {% for e in examples %}{{ loop.last }}{{ e }}{% endfor %}\n"
    fine = text + "{% for k in kinds.covered[:3] %}{{ k.upper() }}{% endfor %}{{ refused[0].sample }}"
    assert checked("pattern.txt", fine.encode(), "x") == fine
    for wrong, named in (("{{ kinds.covred }}", "'kinds' with a field 'covred'"), ("{{ refused[0].sampl }}", "'refused' with a")):
        assert f", line 3: there is no {named}" in complaint(text + wrong, "pattern.txt")


def test_files_as_other_systems_write_them() -> None:
    assert checked("judge.txt", b"\xef\xbb\xbf" + OWN.replace("\n", "\r\n").encode(), "x") == OWN


@pytest.mark.parametrize(
    "text, said",
    [
        (
            OWN.replace("i.question", "i.qestion"),
            ", line 6: there is no 'items' with a field 'qestion' (did you mean 'question'?)",
        ),
        (OWN.replace("in items", "in items[:3] | reverse").replace("i.reference", "i.key"), ", line 6: there is no 'items' with"),
        (
            OWN.replace("You are strict.", "\n\nYou do {{ tsk }}."),
            ", line 5: there is no variable 'tsk' (did you mean 'task'?); ",
        ),
        (OWN.replace("strict.", "{{ sample }}."), ", line 3: there is no variable 'sample'; there are asked, items, parents, "),
        (OWN.replace("{% endfor %}", ""), ", line 6: Unexpected end of template"),
        (OWN.replace("i.question }}", "i.question }"), ", line 6: unexpected '}'"),
        (OWN.replace("i.question", "i.question | uper"), ", line 6: No filter named 'uper'"),
        (OWN + "{% include 'more.txt' %}", ": a prompt is one file"),
        (OWN + "{% include name %}", ": a prompt is one file"),
        (OWN.replace("=== user", "=== User"), ", line 4: '=== User' begins no message; write '=== user'"),
        (OWN.replace("=== user", "== user"), ", line 4: '== user' begins no message"),
        (OWN.replace("=== system", "=== sytem:"), ", line 2: '=== sytem:' begins no message; write '=== system'"),
        (OWN.replace("You are strict.", " {# nothing #}\n"), ", line 3: the message '=== system' is empty"),
        (OWN.replace("{# Mine. #}", "{# Mine. #}\nYou judge."), ": 'You judge.' stands before the first message"),
        (OWN.replace("=== system", "").replace("=== user", ""), ": has no message"),
        ("", ": has no message"),
        (OWN + "=== assistant\n{", ROLES),
        (OWN.replace("=== user", "=== assistant"), ROLES),
        (OWN.replace("=== system", "=== user"), ROLES),
        (OWN + "=== system\nBe strict.\n=== user\nGo.", ROLES),
        (OWN.encode("utf-16"), ": not UTF-8 text"),
        (OWN + " " * 100_000, ": has 100,"),
    ],
)
def test_what_cannot_be_sent_is_told_with_its_line(text: str | bytes, said: str) -> None:
    assert said in complaint(text)


def test_examples_as_pairs_and_other_headings_are_fine() -> None:
    pairs = "=== user\nTwo and two?\n=== assistant\nFour.\n" + OWN.partition("strict.\n")[2] + "=== Example ===\n======\n"
    chat = Prompts({"judge.txt": checked("judge.txt", pairs.encode(), "x")}).render("control_quality", "judge", items=[], task="")
    assert [m["role"] for m in chat] == ["user", "assistant", "user"]
    assert chat[-1]["content"] == "=== Example ===\n======"


def test_names() -> None:
    check_names(package_prompts(), "/p")
    with pytest.raises(InputError, match=r"^/p has 'jugde.txt', which no stage has \(did you mean 'judge.txt'\?\); there are"):
        check_names(["judge.txt", "jugde.txt"], "/p")
    for name in ("README.md", "sub/judge.txt"):
        with pytest.raises(InputError, match=f"/p has '{name}'"):
            check_names([name], "/p")
    with pytest.raises(InputError, match=r"^there is no file in /p; give a folder with some of analyse.txt, "):
        check_names([], "/p")
