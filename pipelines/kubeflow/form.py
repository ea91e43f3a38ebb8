"""The form that starts a run: the parameters of the pipeline, with the types, defaults and descriptions that the UI shows.

A pipeline is a Python function to Kubeflow's SDK, which reads them from its signature and docstring.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

from pada_agent.components.core.form import FIELDS
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Vertex

WHAT = "Evaluate a small language model, find patterns in its failures, write data against them, fine-tune, repeat."


@dataclass(frozen=True)
class Entry:
    """One parameter of the pipeline; without a default it must be given."""

    says: str
    kind: type = str
    default: Any = None


def form(place: Kubernetes | Vertex) -> dict[str, Entry]:
    """The entries for one target, by name."""
    on_vertex = isinstance(place, Vertex)
    folder = "gs:// folder" if on_vertex else "gs://, s3:// or minio:// folder"
    entries = {name: Entry(field.says, field.kind, field.default) for name, field in FIELDS.items()}
    keys = ", among them teacher.api_key_secret and judge.api_key_secret" if on_vertex else ""
    entries["settings"] = Entry(f"all other settings as one JSON object{keys}; what has a field is left out", dict, {})
    entries["work_uri"] = Entry(f"{folder} for paid replies and checkpoints; a run started again with it pays for nothing twice")
    entries["data_version"] = Entry(
        "what lies at the addresses above; `pada submit` fills it in, by hand give another word after each change of the data or "
        "the models: tasks with the same inputs are taken over from an earlier run"
    )
    entries["export_uri"] = Entry(f"{folder} for the adapter to ship; empty: it stays an artifact of the run", default="")
    if isinstance(place, Vertex):
        machine = place.placement.vertex
        entries["accelerator_type"] = Entry(
            "for training and evaluation, e.g. NVIDIA_L4, NVIDIA_A100_80GB", default=machine.accelerator_type
        )
        entries["accelerator_count"] = Entry("number of accelerators, as text", default=machine.accelerator_count)
        entries["cpu_limit"] = Entry(
            "CPUs for training and evaluation; Vertex takes the smallest machine that has them", default=machine.cpu_limit
        )
        entries["memory_limit"] = Entry("memory for training and evaluation", default=machine.memory_limit)
    return entries


def with_form(body: Callable[[dict[str, Any]], None], entries: dict[str, Entry], what: str = WHAT) -> Callable[..., None]:
    """A function that the SDK takes for one with these parameters; `body` gets them by name."""

    def pipeline(*values: Any) -> None:
        body(dict(zip(entries, values, strict=True)))

    def parameter(name: str, entry: Entry) -> Parameter:
        default = Parameter.empty if entry.default is None else entry.default
        return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=entry.kind)

    described = "".join(f"    {name}: {entry.says}.\n" for name, entry in entries.items())
    pipeline.__signature__ = Signature([parameter(name, entry) for name, entry in entries.items()])  # type: ignore[attr-defined]
    pipeline.__doc__ = f"{what}\n\nArgs:\n{described}"
    return pipeline
