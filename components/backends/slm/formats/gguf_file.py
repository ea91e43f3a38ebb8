"""A full model as GGUF files: llama.cpp's converter once, then its quantiser for each type that is wanted."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pada_agent.components.backends.slm.formats.converter import LINES, convert
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError, ModelError

PLAIN = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}  # what a type of PyTorch is without loss


def parse_types(text: str) -> list[str]:
    """The types of a comma-separated list, in small letters. Raises InputError for one that llama.cpp has not."""
    wanted = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    known = types()
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        wrong = f"llama.cpp has no type '{unknown[0]}'" if unknown else "no type is named"
        raise InputError(f"--gguf: {wrong}; name some of {', '.join(known)}, separated by commas")
    return wanted


def types() -> dict[str, int]:
    """llama.cpp's numbers of the types that a file can be written in, by name. Raises ModelError without the library."""
    try:
        import llama_cpp
    except ImportError as e:
        raise ModelError("--gguf needs llama-cpp-python; install it with: pip install 'pada-agent[local]'") from e
    found = {}
    for constant, number in vars(llama_cpp).items():
        for start in ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_"):
            # The types of less than 3 bits want statistics of a text (an importance matrix), which nobody makes here.
            if constant.startswith(start) and not constant.removeprefix(start).startswith(("IQ", "TQ")):
                found[constant.removeprefix(start).lower()] = int(number)
    return found


def write_gguf(model: Path, dtype: str, wanted: Sequence[str], folder: Path, name: str) -> dict[str, Path]:
    """Write the hub folder `model` of `dtype` as `<name>-<type>.gguf` into `folder`; the files by type. Raises ModelError."""
    files: dict[str, Path] = {}
    with OwnFolder("pada-gguf-", folder) as work:
        whole = work / "whole.gguf"
        convert(model, whole, PLAIN[dtype])
        for kind in wanted:
            files[kind] = folder / f"{name}-{kind}.gguf"
            if kind != PLAIN[dtype]:
                _quantise(whole, work / "one.gguf", kind)
                (work / "one.gguf").rename(files[kind])
        if PLAIN[dtype] in files:
            whole.rename(files[PLAIN[dtype]])
    return files


def _quantise(whole: Path, file: Path, kind: str) -> None:
    """In a process of its own: llama.cpp aborts on what it does not take."""
    command = [sys.executable, "-m", "pada_agent.components.backends.slm.formats.quantise", str(whole), str(file), kind]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, errors="replace")
    if done.returncode or not file.is_file():
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(
            f"llama.cpp cannot write this model as {kind}: {' | '.join(said[-LINES:]) or f'exit code {done.returncode}'}"
        )
