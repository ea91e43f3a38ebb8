"""Fetches from the model hub only the files that loading a model needs.

A repository often holds the same weights several times (safetensors, .bin, ONNX, a dozen GGUF files). A name may say
which file to take: `org/repository/file.gguf`.
"""

import json
from pathlib import Path

from pada_agent.components.backends.patience import passes
from pada_agent.components.core.errors import ModelError, PassingError

SECONDS = 10.0  # for an answer of the hub, so that a machine that cannot reach it goes on to the next source
GGUF_CHOICE = ("q4_k_m", "q8_0", "f16", "bf16")
TEXTS = (".json", ".txt", ".model", ".jinja", ".tiktoken")
NOT_WEIGHTS = ("training_args", "optimizer", "scheduler")


def hub_snapshot(name: str) -> tuple[Path, str]:
    """Folder or .gguf file of a hub model in the hub's own cache, and its revision.

    Raises ModelError that says why, PassingError if the hub does not answer now and nothing was downloaded before.
    """
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError as e:
        raise ModelError("huggingface_hub is not installed") from e
    parts = name.split("/")
    repository, file = "/".join(parts[:2]), "/".join(parts[2:])
    try:
        info = HfApi().model_info(repository, timeout=SECONDS)
        wanted = needed_files([s.rfilename for s in info.siblings or []], file)
        folder = Path(snapshot_download(repository, revision=info.sha, allow_patterns=wanted, etag_timeout=SECONDS))
    except ModelError:
        raise
    except Exception as online:  # the hub client passes on errors of its HTTP library, which differ between versions
        folder = _downloaded_before(repository, online)
        wanted = needed_files([str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()], file)
    _check_whole(folder)
    ggufs = [w for w in wanted if w.endswith(".gguf")]
    return (folder / ggufs[0] if ggufs else folder), folder.name


def needed_files(files: list[str], file: str = "") -> list[str]:
    """Of a repository's files, what loading takes: configuration, tokenizer and one set of weights, or one GGUF file.

    Raises ModelError when there is nothing that can be loaded, or several GGUF files and no usual one among them.
    """
    if file:
        if file not in files:
            raise ModelError(f"the repository has no file {file}")
        return [file]
    # 1_Pooling/, 2_Dense/: the modules of a sentence-transformers model are in numbered folders.
    files = [f for f in files if "/" not in f or (f[0].isdigit() and f.count("/") == 1) or f.endswith(".gguf")]
    for suffix, other in ((".safetensors", ".bin"), (".bin", ".safetensors")):
        weights = [f for f in files if f.endswith(suffix) and not f.startswith(NOT_WEIGHTS)]
        if any("/" not in f for f in weights):
            return [f for f in files if f.endswith(TEXTS) and not f.endswith(f"{other}.index.json")] + weights
    ggufs = sorted(f for f in files if f.endswith(".gguf"))
    for choice in GGUF_CHOICE:
        if matching := [f for f in ggufs if choice in f.lower()]:
            return matching[:1]
    if len(ggufs) == 1:
        return ggufs
    raise ModelError(f"the repository holds no weights that can be loaded ({len(ggufs)} GGUF files; name one of them)")


def _downloaded_before(repository: str, online: Exception) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except Exception:  # that nothing is there is no news; why the hub did not answer is
        reason = (str(online).splitlines() or [""])[0]
        kind = PassingError if passes(online) else ModelError
        raise kind(f"{type(online).__name__}: {reason}") from online


def said_by_hub(error: Exception) -> str:
    """An error of the hub's client in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])[:300]}" if lines else type(error).__name__


def _check_whole(folder: Path) -> None:
    """An interrupted download leaves some of the shards that the index names."""
    for index in folder.glob("*.index.json"):
        shards = set(json.loads(index.read_text()).get("weight_map", {}).values())
        if missing := sorted(s for s in shards if not (folder / s).exists()):
            raise ModelError(f"{len(missing)} of {len(shards)} files are missing, e.g. {missing[0]}")
