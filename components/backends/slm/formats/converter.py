"""llama.cpp's own converter to GGUF, out of the source of the llama-cpp-python that is installed here.

No wheel carries it under its own name: two packages on PyPI do, and put their own `gguf` or `llama_cpp` in the place of the real
ones. The source distribution of llama-cpp-python has it as llama.cpp's authors wrote it, of the very release whose library
will read the file, and is what pip compiled that library from. pip fetches it once (76 MB) and 2 MB of it are kept, in the cache
of models; `$LLAMA_CPP`, a checkout of llama.cpp, is taken in its place where it is set.
"""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pada_agent.components.backends.files import whole_directory
from pada_agent.components.backends.models.sources import cache_root
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import ModelError

SCRIPT = "convert_hf_to_gguf.py"
CHECKOUT = "LLAMA_CPP"
PARTS = (SCRIPT, "conversion/", "gguf-py/gguf/", "LICENSE")
_IN_SOURCE = "/vendor/llama.cpp/"
LINES = 4  # of the converter's last words
LIBRARY = "llama-cpp-python"


def convert(model: Path, file: Path, dtype: str) -> None:
    """Write the hub folder `model` as a GGUF file of `dtype` (f32, f16, bf16). Raises ModelError with llama.cpp's reason."""
    command = [sys.executable, str(converter()), str(model), "--outfile", str(file), "--outtype", dtype]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, errors="replace")
    if done.returncode or not file.is_file():
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        why = next((line for line in said if "pre-tokenizer was not recognized" in line), " | ".join(said[-LINES:]))
        raise ModelError(f"{model}: llama.cpp's converter does not take this model: {why.strip('* ') or 'it said nothing'}")


def converter() -> Path:
    """The converter's script, fetched if need be. Raises ModelError."""
    if checkout := os.environ.get(CHECKOUT):
        script = Path(checkout).expanduser() / SCRIPT
        if not script.is_file():
            raise ModelError(f"${CHECKOUT} is {checkout}, where there is no {SCRIPT}; name a checkout of llama.cpp")
        return script
    try:
        release = version(LIBRARY)
    except PackageNotFoundError as e:
        raise ModelError(f"--gguf needs {LIBRARY}; install it with: pip install 'pada-agent[local]'") from e
    folder = cache_root().parent / "llama.cpp" / release
    if not (folder / SCRIPT).is_file():
        with OwnFolder("pada-llama-cpp-") as work:
            archive = _source(release, work)
            with whole_directory(folder) as new:
                _unpack(archive, new)
    return folder / SCRIPT


def _source(release: str, work: Path) -> Path:
    """The source distribution, with pip as it is set up here."""
    options = ["--quiet", "--no-deps", "--no-cache-dir", f"--no-binary={LIBRARY}", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(work), f"{LIBRARY}=={release}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    archive = next(work.glob("*.tar.gz"), None)
    if done.returncode or archive is None:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module named" in line]
        why = (said or [f"exit code {done.returncode}"])[-1]
        raise ModelError(
            f"the source of {LIBRARY} {release}, which holds the converter, cannot be fetched ({why}); set ${CHECKOUT} to a "
            "checkout of llama.cpp"
        )
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            _, found, name = member.name.partition(_IN_SOURCE)
            if found and member.isfile() and name.startswith(PARTS):
                tar.extract(member.replace(name=name, deep=False), folder, filter="data")
    if not (folder / SCRIPT).is_file():
        raise ModelError(f"{archive.name} holds no {SCRIPT}; set ${CHECKOUT} to a checkout of llama.cpp")
