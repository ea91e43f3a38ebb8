"""Names from outside, as a path below a folder."""

import pytest

from pada_agent.components.backends.files import below, safe_name
from pada_agent.components.core.errors import InputError

HOSTILE = [
    "",
    ".",
    "..",
    "../a",
    "a/../b",
    "/etc",
    "a//b",
    "a/",
    "./a",
    "a\\b",
    "a\0b",
    "a" * 256,
    "a/" * 600 + "a",
    None,
    7,
    ["a"],
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_elsewhere_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"^the note: .* cannot be the name of a file"):
        safe_name(name, "the note")
    with pytest.raises(InputError):
        below(tmp_path, name, "the note")


@pytest.mark.parametrize("name", ["a", "a/b.json", "..a", "a b", ".hidden", "checkpoint-8", "é"])
def test_other_names_are_paths_below(name, tmp_path):
    assert below(tmp_path, name, "the note") == tmp_path / name


def test_a_symbolic_link_does_not_lead_out(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    for name in ("link", "link/other"):
        with pytest.raises(InputError, match="leads out of"):
            below(tmp_path / "in", name, "the note")
