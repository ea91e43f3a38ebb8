"""Reads a run's YAML file into Settings; errors name the file, the key and the line.

    task: {name: text_to_sql, train: train.jsonl, validation: validation.jsonl, test: test.jsonl}
    slm: {model: HuggingFaceTB/SmolLM2-135M-Instruct}
    teacher: {model: qwen2.5-coder-1.5b-instruct, base_url: embedded}
    ...

A relative path is taken from the file's own folder, so that a run can be started from anywhere.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pada_agent.components.core.addresses import Address, moved
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.validation import validation_message

_DATA_SUFFIXES = (".jsonl", ".json", ".parquet", ".gz", ".csv")


def read_config(file: Path, seed: int | None = None) -> Settings:
    """The settings in `file`, with `seed` in place of its own if given. Raises InputError in one line."""
    values = _read_yaml(file)
    if seed is not None:
        values["seed"] = seed
    try:
        settings = Settings.model_validate(values)
    except ValidationError as e:
        raise InputError(f"{file}: {validation_message(e, Settings)}") from e
    folder = file.resolve().parent
    try:
        return moved(settings, lambda address: _located(folder, address))
    except InputError as e:
        raise InputError(f"{file}: {e}") from e


def _located(folder: Path, address: Address) -> str:
    """A path made absolute from the config's folder. What is no path (a URI, a hub id) is left alone."""
    if address.is_uri or address.is_path:
        return address.value
    path = folder / Path(address.value).expanduser()
    meant = address.kind == "file" or address.value.startswith(("./", "../", "~"))
    meant = meant or (address.kind == "rows" and path.suffix in _DATA_SUFFIXES)
    return str(path.resolve()) if meant or path.exists() else address.value


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice: YAML would silently take the later one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as e:
        raise InputError(f"{file}: cannot be read ({e.strerror}); give the path of a YAML file with --config") from e
    except UnicodeDecodeError as e:
        raise InputError(f"{file}: not UTF-8 text; save it as UTF-8") from e
    except yaml.MarkedYAMLError as e:
        line = f", line {e.problem_mark.line + 1}" if e.problem_mark else ""
        raise InputError(f"{file}{line}: not valid YAML ({e.problem})") from e
    except yaml.YAMLError as e:
        raise InputError(f"{file}: not valid YAML ({' '.join(str(e).split())})") from e
    if not isinstance(values, dict):
        raise InputError(f"{file}: expected sections such as task, slm, teacher, judge; found {type(values).__name__}")
    return values
