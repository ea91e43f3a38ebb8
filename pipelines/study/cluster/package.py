"""`pada compile --pipeline study`: a study file becomes a package."""

from dataclasses import replace
from pathlib import Path

from pada_agent.pipelines.kubeflow.compile import Target, with_keys, write_study
from pada_agent.pipelines.study.packed import pack
from pada_agent.pipelines.study.study_file import Study


def write_package(study: Study, place: Target, file: Path) -> None:
    """Compile, check, write; `study.jobs` cells run at a time. Raises InputError for what no cluster can run."""
    tasks = {task: {method: with_keys(place, own) for method, own in of.items()} for task, of in study.tasks.items()}
    runs = {f"{task}, {method}": settings for task, of in tasks.items() for method, settings in of.items()}
    write_study(pack(replace(study, tasks=tasks)), runs, study.jobs, place, file)
