"""The state survives the way through a file, and says what is wrong with one that is none."""

import json
from pathlib import Path

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import UpdateState
from pada_agent.components.core.state import STATE_FILE, Decision, RunFacts, State


def write(folder: Path, text: str) -> Path:
    (folder / STATE_FILE).write_text(text, encoding="utf-8")
    return folder


def test_a_state_comes_back_as_it_was(tmp_path: Path, finished_state: State) -> None:
    text = finished_state.model_dump_json()
    assert State.load(write(tmp_path, text)) == finished_state
    assert State.load(tmp_path).model_dump_json() == text


def test_what_it_can_tell(finished_state: State) -> None:
    assert finished_state.start.name == "vanilla"
    assert finished_state.model("iteration-2").iteration == 2
    assert finished_state.usage.calls == 52 and finished_state.usage.recovered == {"fenced": 6}
    assert [row.id for row in finished_state.synthetic_rows] == ["syn-1", "syn-2", "syn-1", "syn-2"]
    assert finished_state.iterations[0].shortfall == 3
    with pytest.raises(InputError, match=r"no model 'iteration-9'; it has untuned, vanilla"):
        finished_state.model("iteration-9")
    with pytest.raises(InputError, match="no fine-tuned model to start from"):
        _ = finished_state.model_copy(update={"models": []}).start


def test_a_run_is_over_when_neither_an_iteration_nor_the_step_matched_model_is_to_come(finished_state: State) -> None:
    assert finished_state.over and not finished_state.step_matched_due
    wanted = finished_state.model_copy(update={"run": finished_state.run.model_copy(update={"step_matched": True})})
    assert wanted.over, "it is there"
    without = wanted.model_copy(update={"models": [m for m in wanted.models if m.kind != "step_matched"]})
    assert without.step_matched_due and not without.over
    untrained = without.model_copy(update={"models": [m for m in without.models if m.kind != "candidate"]})
    assert untrained.over, "there is nothing to match"
    going_on = without.model_copy(update={"decision": Decision(go_on=True)})
    assert not going_on.step_matched_due and not going_on.over


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 7}, r"state.json: state of version 7, this release reads version 1"),
        ({"incumbent": 3}, r"state.json: incumbent: Input should be a valid string"),
        ({"extra": 1}, r"state.json: extra: Extra inputs are not permitted"),
    ],
)
def test_a_state_that_is_none(tmp_path: Path, finished_state: State, change: dict[str, object], message: str) -> None:
    value = {**finished_state.model_dump(mode="json"), **change}
    with pytest.raises(InputError, match=message):
        State.load(write(tmp_path, json.dumps(value)))


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "version None")])
def test_a_file_that_is_no_state(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        State.load(write(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"state\.json: cannot be read"):
        State.load(tmp_path)


def test_how_rows_are_let_in_is_kept_for_the_report() -> None:
    llm = {"model": "m"}
    settings = UpdateState.model_validate(
        {
            "task": {"name": "squad", "train": "t", "validation": "v", "test": "e"},
            "slm": {"model": "s", "thinking": True},
            "teacher": llm,
            "judge": llm,
            "evaluate": {},
            "generate": {},
            "control": {"verdict": "checks", "threshold": 8, "lowest": 6},
            "loop": {},
            "budget": {},
        }
    )
    run = RunFacts.of(settings, "exact match")
    assert (run.verdict, run.threshold, run.lowest) == ("checks", 8, 6)
    assert run.thinking
