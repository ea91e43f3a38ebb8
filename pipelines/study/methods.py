"""The methods a study can name: each is the run's own settings with these changes.

All of `generate.method` are here, PaDA's ablations, and each that has its rows checked without that.

`untuned`, `vanilla` and `step_matched` have no line: they are in every study, since the others are measured against them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.registry import METHODS

Changes = Mapping[str, Any]

ALWAYS = ("untuned", "vanilla", "step_matched")
PADA, DUPLICATE = "pada", "duplicate"  # of which nothing but leaks is checked anyway
UNCHECKED: Changes = {"control": {"verdict": "none"}}


def _built_in() -> dict[str, Changes]:
    own: dict[str, Changes] = {name: {"generate": {"method": name}} for name in METHODS}
    ablations: dict[str, Changes] = {
        "pada_without_patterns": {"generate": {"method": PADA, "pattern_share": 0}},
        "pada_without_errors": {"generate": {"method": PADA, "pattern_share": 1}},
        "pada_shuffled_clusters": {"generate": {"method": PADA}, "analyze": {"shuffle": True}},
    }
    checked = {name: changes for name, changes in own.items() if name != DUPLICATE}
    unchecked = {f"{name}_without_quality_control": merged(changes, UNCHECKED) for name, changes in checked.items()}
    return own | ablations | unchecked


# What writes and checks data. All else is the same for all methods: the comparison is about data of equal amount.
MAY_CHANGE = ("teacher", "judge", "embedding", "analyze", "generate", "control", "prompts")
EQUAL_FOR_ALL = {"generate": ("share", "scope")}


class WrongMethod(InputError):
    """`at` is the place below `methods`."""

    def __init__(self, at: Sequence[str], what: str) -> None:
        super().__init__(f"{'.'.join(('methods', *at))}: {what}")
        self.at = at


def changes_of(name: str, own: Changes) -> Changes:
    """What the method `name` changes, with the study file's `own` changes over the built-in ones.

    Raises WrongMethod for a name that says nothing, and for changes that would make methods incomparable.
    """
    if name in ALWAYS and own:
        raise WrongMethod([name], "it is in every study and cannot be changed; give the changed method another name")
    if name not in BUILT_IN and not own:
        raise WrongMethod([name], f"it is not built in, so say what it changes; built in are {', '.join((*BUILT_IN, *ALWAYS))}")
    for section, values in own.items():
        if section not in MAY_CHANGE:
            raise WrongMethod([name, section], f"a method may change {', '.join(MAY_CHANGE)}; the rest is the same for all")
        for key in EQUAL_FOR_ALL.get(section, ()):
            if isinstance(values, Mapping) and key in values:
                raise WrongMethod([name, section, key], "all methods write as many rows; set it in `settings` or in a task")
    return merged(BUILT_IN.get(name, {}), own)


def merged(*layers: Changes) -> dict[str, Any]:
    """One mapping, later layers over earlier ones, sections key by key; a list or a plain value is replaced as a whole."""
    whole: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
            whole[key] = merged(whole[key], value) if both else value
    return whole


BUILT_IN = _built_in()
