"""The files of other evaluators: which of a folder are meant, and how each is opened.

results/example__slm/samples_mmlu_anatomy_2025-06-01T12-00-00.123456.jsonl      lm-eval, --output_path results
logs/2025-06-01T12-00-00+00-00_gsm8k_Ax3yHM.eval                                Inspect; also .json
"""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pada_agent.components.backends.artifacts.row_sources import read_json_lines, read_rows
from pada_agent.components.backends.progress import notice
from pada_agent.components.core.addresses import is_rows
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields

_SAMPLES = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d.:+-]+)?\.jsonl")
_HEAD = 4096  # bytes in which a log of Inspect shows itself


def logs_in(folder: Path) -> list[Path]:
    """The files of one evaluation in an evaluator's output folder, [] if there are none.

    Of a task that lm-eval evaluated several times the newest counts, which a line says. Raises InputError where a choice is
    to be made: several models, several logs of Inspect.
    """
    if samples := _lm_eval(folder):
        models = sorted({file.parent for file in samples})
        if len(models) > 1:
            raise InputError(f"{folder}: holds samples of several models; name the folder of one: {_some(models)}")
        return samples
    logs = sorted(file for file in folder.rglob("*") if file.suffix in (".eval", ".json") and is_inspect(file))
    if len(logs) > 1:
        raise InputError(f"{folder}: holds several logs of Inspect; name one: {_some(logs)}")
    return logs


def _lm_eval(folder: Path) -> list[Path]:
    newest: dict[tuple[Path, str], Path] = {}
    older = []
    for file in sorted(folder.rglob("samples_*.jsonl")):  # of one task in the order of their dates, one without a date first
        if name := _SAMPLES.fullmatch(file.name):
            key = (file.parent, name["task"])
            older += [newest[key]] if key in newest else []
            newest[key] = file
    if older:
        notice(f"{folder}: of several evaluations of one task the newest is read; left out: {_some(older)}")
    return [file for _, file in sorted(newest.items())]


def is_inspect(file: Path) -> bool:
    """Whether this is a log of Inspect, by what is in it: an artifact's name may have no ending."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return any(name in ("header.json", "_journal/start.json") for name in archive.namelist())
    with file.open("rb") as f:
        head = f.read(_HEAD)
    return re.match(rb'\s*\{\s*"version"\s*:\s*\d+\s*,\s*"status"\s*:\s*"\w+"\s*,\s*"eval"\s*:', head) is not None


def read_log(file: Path) -> Iterator[tuple[str, Fields]]:
    """The rows of one file, each with its place. Raises InputError."""
    if is_inspect(file):
        return _inspect(file)
    return read_rows(str(file)) if is_rows(file.name) else read_json_lines(file)


def _inspect(file: Path) -> Iterator[tuple[str, Fields]]:
    try:
        from inspect_ai.log import read_eval_log, read_eval_log_samples
    except ImportError as e:
        raise InputError(f"{file}: a log of Inspect, read with its own library: pip install 'pada-agent[inspect]' ({e})") from e
    form = "eval" if zipfile.is_zipfile(file) else "json"
    try:
        log = read_eval_log(str(file), header_only=True, format=form)
        if log.status != "success":
            notice(f"{file}: this evaluation ended as {log.status}; what it has is read")
        for sample in read_eval_log_samples(str(file), all_samples_required=False, format=form):
            row = sample.model_dump(mode="json", exclude={"events", "messages", "store", "attachments"})
            yield f"{file}: sample {sample.id}, epoch {sample.epoch}", row
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile, json.JSONDecodeError) as e:
        raise InputError(
            f"{file}: not a whole log of Inspect ({type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''})"
        ) from e


def _some(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
