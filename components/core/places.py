"""Where a backend keeps what a task leaves, read from the URI of one of its artifacts.

minio://mlpipeline/v2/artifacts/PIPELINE/RUN/TASK/ATTEMPT/adapter        Kubeflow 2.17; ATTEMPT is a UUID
minio://mlpipeline/v2/artifacts/PIPELINE/RUN/TASK/adapter                Kubeflow before 2.17
gs://bucket/root/PROJECT/RUN/TASK_-1234567890/adapter                    Vertex AI
/home/me/runs/quickstart/02-train-vanilla/adapter                        a run directory
"""

import re
from dataclasses import dataclass
from uuid import UUID

HERE = "here"  # the run of a run directory: it has one, however often it is started
_NUMBERED = re.compile(r"(?:^\d+-)?(?P<task>.*?)(?:_-?\d+)?$")


@dataclass(frozen=True)
class Place:
    """`root` is where a pipeline's runs lie; '' for a run directory."""

    root: str
    run: str
    task: str


def place_of(uri: str) -> Place | None:
    """The place of the task that made the artifact at `uri`; None where the URI is not laid out so."""
    folders = uri.split("/")[:-1]
    if "://" not in uri:
        return Place("", HERE, _name(folders[-1])) if folders and folders[-1] else None
    if len(folders) < 6:
        return None
    if _is_uuid(folders[-1]):
        folders.pop()
    return Place("/".join(folders[:-2]), folders[-2], _name(folders[-1]))


def _name(folder: str) -> str:
    found = _NUMBERED.fullmatch(folder)
    return found["task"] if found else folder


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
