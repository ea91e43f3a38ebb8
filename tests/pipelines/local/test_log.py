"""One line for each task: what came out, and whether it ran now."""

import io

import pytest
from rich.console import Console

from pada_agent.pipelines.local.log import RunLog


@pytest.fixture
def log():
    text = io.StringIO()
    made = RunLog(Console(file=text, highlight=False, soft_wrap=True))
    made.text = text.getvalue
    return made


def test_a_task_is_said_with_its_folders_number_its_time_and_its_numbers(log):
    log.start("08-generate-1-2")
    log.task("08-generate-1-2", 72.4, {"rows written": 12, "USD": 0.031}, True)
    log.task("04-evaluate-vanilla", 12.4, {"validation": "62.5 % of 80"}, True)
    assert log.text().splitlines() == [
        "08 iteration 1, generate 2 ...",
        "08 iteration 1, generate 2: 1 min 12 s  12 rows written, USD 0.031",
        "04 vanilla, evaluate: 12 s  validation 62.5 % of 80",
    ]


def test_what_was_done_before_says_so(log):
    log.task("01-prepare", 3.0, {"train rows": 120}, False)
    log.task("05-start", 3.0, {}, False)
    assert log.text().splitlines() == ["01 prepare: done before  120 train rows", "05 start: done before"]


def test_names_in_square_brackets_are_not_markup(log):
    log.task("05-start", 1.0, {"ships": "[bold]"}, True)
    assert "ships [bold]" in log.text()
