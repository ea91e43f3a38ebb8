"""Which settings hold an address, what lies there and which stages read it: a line each, for whoever resolves or checks them.

task.train             gs://data/train.jsonl                  rows    prepare_data
task.options.database  /data/shop.sql                         file    prepare_data
prompts                s3://data/prompts                      folder  prepare_data
analyze.patterns_from  gs://exports/gsm8k                     run     analyze_patterns
slm.model              HuggingFaceTB/SmolLM2-135M-Instruct    model   train_lora, evaluate_slm
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from pada_agent.components.core.settings import EMBEDDED, Settings
from pada_agent.components.core.tasks.registry import task_class

Kind = Literal["rows", "file", "folder", "model", "run"]
# Of object stores: the scheme of a URI, and the API that is spoken there. KFP calls its own store minio://, which is an S3 API.
STORES = {"gs": "gs", "s3": "s3", "minio": "s3"}
HUB_ROWS = re.compile(
    r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?#(?P<split>[\w.-]+)(?:\[(?P<start>\d*):(?P<stop>\d*)\])?"
)
# Of files with rows; each also packed.
ROW_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
PACKED = ".gz"
_FIXED: tuple[tuple[str, Kind, tuple[str, ...]], ...] = (
    ("task.train", "rows", ("prepare_data",)),
    ("task.validation", "rows", ("prepare_data",)),
    ("task.selection", "rows", ("prepare_data",)),
    ("task.test", "rows", ("prepare_data",)),
    ("prompts", "folder", ("prepare_data",)),
    ("slm.model", "model", ("train_lora", "evaluate_slm")),
    ("embedding.model", "model", ("analyze_patterns",)),
    ("analyze.patterns_from", "run", ("analyze_patterns",)),
)


@dataclass(frozen=True)
class Address:
    """`value` is a URI, a path or a hub id; `rest` is what the setting says behind it, such as `:function`."""

    key: str
    value: str
    kind: Kind
    readers: tuple[str, ...]
    rest: str = ""

    @property
    def is_uri(self) -> bool:
        """Whether it is in an object store."""
        return "://" in self.value

    @property
    def is_path(self) -> bool:
        """Whether it is on a disk: a config's paths are absolute once it is read."""
        return PurePath(self.value).is_absolute()

    @property
    def is_known_by_content(self) -> bool:
        """Whether a run is another one when what lies there changes; not so models, and runs, of which what was taken stays."""
        return self.is_path and self.kind not in ("model", "run")


def addresses(settings: Settings) -> Iterator[Address]:
    """Every setting that holds an address and is not empty. Raises InputError for a task that there is not."""
    values = settings.model_dump()
    for key, kind, readers in _FIXED:
        if value := _section(values, key)[key.rpartition(".")[2]]:
            yield Address(key, value, kind, readers)
    for option, file in task_class(settings.task.name).option_files(settings.task.options).items():
        yield Address(f"task.options.{option}", file.address, "file", ("prepare_data",), file.rest)
    for role, llm in settings.llms.items():
        if llm.base_url == EMBEDDED:  # else the server's own name for it
            yield Address(f"{role}.model", llm.model, "model", ())


def moved(settings: Settings, to: Callable[[Address], str]) -> Settings:
    """The settings with each address as `to` gives it."""
    values = settings.model_dump()
    for address in addresses(settings):
        _section(values, address.key)[address.key.rpartition(".")[2]] = to(address) + address.rest
    return Settings.model_validate(values)


def is_rows(name: str) -> bool:
    """Whether a file of this name is read as rows."""
    return name.removesuffix(PACKED).endswith(ROW_ENDINGS)


def speaks(uri: str) -> str:
    """The API of the object store that `uri` is in, gs or s3; '' where it is none of STORES."""
    scheme, separator, _ = uri.partition("://")
    return STORES.get(scheme, "") if separator else ""


def bucket_of(uri: str) -> str:
    """The bucket of a URI; '' where it names none."""
    return uri.partition("://")[2].partition("/")[0]


def _section(values: dict[str, Any], key: str) -> dict[str, Any]:
    for name in key.split(".")[:-1]:
        values = values[name]
    return values
