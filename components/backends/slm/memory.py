"""How much memory this process may use, so that a model too large for its container is reported before the kernel kills it."""

import json
import os
from pathlib import Path

from pada_agent.components.core.errors import ModelError

CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # version 2, version 1
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
GIB = 1 << 30


def memory_limit() -> int:
    """Bytes: the container's limit, or the machine's memory where there is none."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in CGROUP:
        try:
            return min(int(file.read_text()), whole)
        except (OSError, ValueError):  # no such version here, or "max"
            continue
    return whole


def check_fits(name: str, folder: Path, dtype: str) -> None:
    """Raises ModelError if the weights in `folder`, held as `dtype`, are larger than the memory limit."""
    stored = sum(file.stat().st_size for pattern in ("*.safetensors", "*.bin") for file in folder.glob(pattern))
    try:
        config = json.loads((folder / "config.json").read_text())
        kept = config.get("dtype") or config.get("torch_dtype") or "float32"
    except (OSError, ValueError):
        return  # whoever loads it says what is wrong with it
    needed, limit = stored * BYTES.get(dtype, 4) // BYTES.get(kept, 4), memory_limit()
    if needed > limit:
        raise ModelError(
            f"model {name}: its weights take {needed / GIB:.1f} GiB as {dtype}, but this container may use "
            f"{limit / GIB:.1f} GiB; raise the task's memory limit, or take a smaller model"
        )
