"""A study as a Kubeflow pipeline: its cells in two loops, each cell one task that follows a whole run in its container.

    root ── plan-vanilla ── vanilla (cell, cell, ...) ── plan-methods ── methods (cell, cell, ...) ── tables ── result

The cells are in the store below `work_uri`, not in artifacts: a plan says which of them are still to be run, and `result` fails
when any is missing. So a cell that fails stops no other, and the same study started again runs what is missing alone.
"""

from collections.abc import Mapping
from typing import Any

from kfp import dsl

from pada_agent.pipelines.kubeflow.form import Entry, with_form
from pada_agent.pipelines.kubeflow.package import STUDY
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Parameters, Vertex
from pada_agent.pipelines.kubeflow.study_tasks import study_cell, study_plan, study_tables

WHAT = "Compare methods over tasks, training sizes and seeds."
CELLS_IN_A_RUN = 40  # of each loop: Kubernetes keeps some 50 KB of each, as of some 120 tasks at most; the next run goes on


def build_study(study: Mapping[str, Any], jobs: int, place: Kubernetes | Vertex) -> Any:
    """The pipeline: `study` as `pipelines/study/packed.py` packs it, `jobs` cells at a time."""
    put = place.on(Parameters(*_machine(place))) if isinstance(place, Vertex) else place

    def body(given: dict[str, Any]) -> None:
        whole = {"study": given["study"], "work_uri": given["work_uri"]}

        def placed(task: dsl.PipelineTask, stage: str, name: str, after: dsl.PipelineTask | None = None) -> dsl.PipelineTask:
            put(task.set_display_name(name), stage)
            return task.after(after) if after else task

        def loop(step: str, after: dsl.PipelineTask | None) -> dsl.PipelineTask:
            plan = placed(study_plan(**whole, step=step, most=given["cells_in_a_run"]), "study_plan", f"plan-{step}", after)
            with dsl.ParallelFor(plan.outputs["cells"], name=step, parallelism=jobs) as cell:
                task = study_cell(work_uri=given["work_uri"], cell=cell, plan=plan.outputs["plan"])
                return placed(task, "study_cell", "cell")

        last = loop("methods", loop("vanilla", None))
        tables = placed(study_tables(**whole), "study_tables", "tables", last)
        placed(study_plan(**whole, step="check", most=given["cells_in_a_run"]), "study_plan", "result", tables)

    return dsl.pipeline(name=STUDY)(with_form(body, _form(study, isinstance(place, Vertex)), WHAT))


def _form(study: Mapping[str, Any], on_vertex: bool) -> dict[str, Entry]:
    folder = "gs:// folder" if on_vertex else "gs://, s3:// or minio:// folder"
    return {
        "work_uri": Entry(f"{folder} of the study: its cells, with all that is paid; a study started again with it goes on"),
        "study": Entry("what is compared, as `pada compile --pipeline study` wrote it", dict, dict(study)),
        "cells_in_a_run": Entry("cells that each of the two loops may run; more are for the next run", int, CELLS_IN_A_RUN),
    }


def _machine(place: Vertex) -> tuple[Any, ...]:
    machine = place.placement.vertex
    return machine.accelerator_type, machine.accelerator_count, machine.cpu_limit, machine.memory_limit
