"""Reads a YAML file that a person writes into a model; what is wrong is told in one line with file, line and key."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.validation import validation_message

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice: YAML would silently take the later one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(file: Path, option: str, sections: str) -> dict[str, Any]:
    """The mapping in `file`; `option` and `sections` (such as "task, slm") are for the errors. Raises InputError."""
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as e:
        raise InputError(f"{file}: cannot be read ({e.strerror}); give the path of a YAML file with {option}") from e
    except UnicodeDecodeError as e:
        raise InputError(f"{file}: not UTF-8 text; save it as UTF-8") from e
    except yaml.MarkedYAMLError as e:
        line = f", line {e.problem_mark.line + 1}" if e.problem_mark else ""
        raise InputError(f"{file}{line}: not valid YAML ({e.problem})") from e
    except yaml.YAMLError as e:
        raise InputError(f"{file}: not valid YAML ({' '.join(str(e).split())})") from e
    if not isinstance(values, dict):
        raise InputError(f"{file}: expected sections such as {sections}; found {type(values).__name__}")
    return values


def validated(values: dict[str, Any], model: type[Model], file: Path) -> Model:
    """`values`, which are from `file`, as `model`. Raises InputError that names the line of the first thing wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as e:
        raise InputError(f"{place(file, told(e))}: {validation_message(e, model)}") from e


def told(error: ValidationError) -> tuple[int | str, ...]:
    """Where the complaint is that `validation_message` tells."""
    first: tuple[int | str, ...] = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")["loc"]
    return first


def place(file: Path, location: Sequence[int | str]) -> str:
    """The file, and the line that `location` leads to in it."""
    line = _line(yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), location)
    return f"{file}, line {line}" if line else str(file)


def _line(node: yaml.Node | None, location: Sequence[int | str]) -> int:
    """The line of the place that `location` leads to, as far as the file goes along with it; 0 where it does not at all."""
    line = 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
