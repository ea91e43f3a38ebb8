"""The files of one split of a data set on the hub: its own, by the rules of Hugging Face's `datasets`.

owner/name#train           the configuration that the repository's README names as default, or its only one
owner/name:main#train      data/train-00000-of-00002.parquet, train.csv, main/train.jsonl.gz, ...

A private or gated one takes a token: `hf auth login`, or $HF_TOKEN.
"""

import re
from typing import Any

from fsspec import AbstractFileSystem

from pada_agent.components.backends.store.transfer import open_store
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError

SECONDS = 30.0
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


def hub_files(hub: re.Match[str], source: str) -> tuple[AbstractFileSystem, list[str]]:
    """The hub's file system and the files of `source`, which `hub` matched. Use inside `reached`.

    Raises InputError for a data set, a configuration or a split that is not there, and for one that asks for a token.
    """
    from datasets import load_dataset_builder
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    name, config = hub["name"], hub["config"]
    try:
        # A revision, so that all files are of one version; also, `datasets` then asks no further server.
        revision = HfApi().dataset_info(name, timeout=SECONDS).sha
    except GatedRepoError as e:
        raise InputError(f"{source}: is gated; ask for access at hf.co/datasets/{name}, and {LOGIN}") from e
    except RepositoryNotFoundError as e:
        raise InputError(f"{source}: there is no data set {name} on the hub, or it is private: {LOGIN}") from e
    try:
        with OwnFolder("pada-hub-") as scratch:  # it wants a cache, and nothing is kept there
            builder = load_dataset_builder(f"hf://datasets/{name}", config, revision=revision, cache_dir=str(scratch))
        data_files = builder.config.data_files or {}
    except RuntimeError as e:
        if "script" not in str(e):
            raise
        return _converted(name, config, hub["split"], source)
    except ValueError as e:
        raise _which_config(name, config, revision, source, e) from e
    files, _ = open_store(f"hf://datasets/{name}@{revision}")
    chosen = _choose({str(split): None for split in data_files}, "split", hub["split"], source)
    return files, [files._strip_protocol(str(file)) for file in data_files[chosen]]


def _which_config(name: str, config: str | None, revision: str | None, source: str, error: ValueError) -> InputError:
    from datasets import get_dataset_config_names

    try:
        there = get_dataset_config_names(f"hf://datasets/{name}", revision=revision)
        _choose(dict.fromkeys(there), "configuration", config, source)
    except InputError as e:
        return e
    except Exception:  # what was wrong first says more
        pass
    return InputError(f"{source}: {' '.join(str(error).split())[:300]}")


def _choose(there: dict[str, Any], kind: str, wanted: str | None, source: str) -> str:
    if not wanted and len(there) == 1:
        return next(iter(there))
    if wanted in there:
        return str(wanted)
    complaint = f"there is no {kind} '{wanted}'" if wanted else f"which {kind}? write owner/name:{kind}#split"
    raise InputError(f"{source}: {complaint}; there are {', '.join(sorted(there)) or 'none'}")


def _converted(name: str, config: str | None, split: str, source: str) -> tuple[AbstractFileSystem, list[str]]:
    """Of a data set that is made by a script, which nobody runs: the hub's Parquet copy, a folder a configuration and split."""
    files, top = open_store(f"hf://datasets/{name}@refs/convert/parquet")
    for kind, wanted in (("configuration", config), ("split", split)):
        folders = {e["name"].rstrip("/").rsplit("/", 1)[-1]: None for e in files.ls(top, detail=True) if e["type"] == "directory"}
        top = f"{top}/{_choose(folders, kind, wanted, source)}"
    return files, sorted(files.find(top))
