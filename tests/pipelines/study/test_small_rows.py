"""The rows of small.yaml, published with the package: as many as its README says, and splits that share nothing."""

from pathlib import Path

import pytest

from pada_agent.components.backends.artifacts.row_sources import read_all
from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.core.settings import PrepareData
from pada_agent.components.prepare_data.prepare import prepare
from pada_agent.pipelines.study.outcomes import VANILLA
from pada_agent.pipelines.study.study_file import read_study

STUDY = Path(__file__).parents[3] / "pipelines" / "study"
ROWS = {"train": 60, "validation": 60, "selection": 60, "test": 150}


@pytest.mark.parametrize("task", ["squad", "arc"])
def test_all_rows_can_be_used_and_no_two_splits_share_an_article(task):
    settings = read_study(STUDY / "small.yaml").settings(task, 0, VANILLA, 0)
    own = PrepareData.model_validate(settings.model_dump(include=set(PrepareData.model_fields)))
    sources = {split: read_all(getattr(settings.task, split)) for split in ROWS}
    prepared = prepare(open_task(settings.task), sources, own)
    assert {split: count["rows"] for split, count in prepared.counts.items()} == ROWS
    assert (prepared.removed, prepared.shared_groups) == ([], {})


def test_the_readme_names_each_folders_source_and_licence():
    lines = (STUDY / "data" / "README.md").read_text(encoding="utf-8").splitlines()
    folders = sorted(path.name for path in (STUDY / "data").iterdir() if path.is_dir())
    assert folders == ["arc", "squad"]
    for folder in folders:
        (line,) = [line for line in lines if line.startswith(f"| `{folder}` |")]
        assert "CC BY-SA 4.0" in line and "arXiv" in line
