"""The settings of single stages: only what they read must be there.

    task: {name: gsm8k}                                                        # with train: rows to write from
    teacher: {model: llama-3.3-70b, base_url: "https://llm.example/v1", api_key_env: TEACHER_KEY}

A whole run's config will do as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings, is_scored_by_llm
from pada_agent.components.core.validation import validation_message
from pada_agent.pipelines.config import located, read_config, resolved
from pada_agent.pipelines.yaml_file import read_yaml, validated

Config = str | Path | Mapping[str, Any] | Settings
SPLITS = ("train", "validation", "test")


def read_whole(config: Config) -> Settings:
    """The settings of a run: of a YAML file, or given as its values, with paths from the folder one is in. Raises InputError."""
    if isinstance(config, Settings):
        return config
    if isinstance(config, Mapping):
        return located(_checked(config), Path("config"))
    return read_config(Path(config))


def read_partial(config: Config, seed: int | None = None) -> Settings:
    """As `read_whole`; what the config leaves out of data, SLM and judge is empty. Raises InputError."""
    if isinstance(config, Settings):
        return config if seed is None else config.model_copy(update={"seed": seed})
    values = dict(config) if isinstance(config, Mapping) else read_yaml(Path(config), "--config", "task, teacher")
    empty: dict[str, Any] = {"slm": {"model": ""}, "judge": {"model": ""}}
    filled = {**empty, **values, **({} if seed is None else {"seed": seed})}
    if is_scored_by_llm(filled.get("task")):
        filled.setdefault("scorer", "teacher")  # who is asked for no score here
    if isinstance(filled.get("task"), Mapping):
        filled["task"] = {**dict.fromkeys(SPLITS, ""), **filled["task"]}
    if isinstance(config, Mapping):
        return resolved(_checked(filled), Path.cwd())
    file = Path(config)
    return resolved(validated(filled, Settings, file), file.resolve().parent)


def is_whole(settings: Settings) -> bool:
    """Whether prepare_data can split and check the rows."""
    return all(getattr(settings.task, split) for split in SPLITS)


def default_folder(config: Config) -> Path:
    """`runs/<name of the config>-analysis`, where a file called config has the name of its folder."""
    file = Path(config) if isinstance(config, str | Path) else None
    name = "" if file is None else f"{file.resolve().parent.name if file.stem == 'config' else file.stem}-"
    return Path("runs") / f"{name}analysis"


def _checked(values: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as e:
        raise InputError(f"config: {validation_message(e, Settings)}") from e
