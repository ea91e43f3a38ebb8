"""What steps keep for readers without artifacts, and the exit task that reads it: in a folder, a SeaweedFS, a fake-gcs-server."""

import pytest
from result_task import RUN, Run, artifact, of_run

from pada_agent.components.backends.artifacts.kept import keep, kept
from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.export import publish
from pada_agent.components.backends.store.transfer import put
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.state import Decision
from tests.components.core.conftest import a_finished_state, rows_of


@pytest.fixture(scope="module")
def state():
    return of_run(a_finished_state())


def after(state, models, iterations):
    """The state as it was when it had so many models and iterations."""
    return state.model_copy(
        update={"models": state.models[:models], "iterations": state.iterations[:iterations], "decision": Decision()}
    )


def test_a_later_step_takes_the_place_of_an_earlier_one_and_never_the_other_way_round(place, state):
    assert kept(place, RUN) is None
    rows = rows_of(state)
    steps = [after(state, 2, 0), after(state, 2, 1), after(state, 3, 1), after(state, 4, 2), state]
    for step in steps:
        keep(f"{place}/", RUN, step, rows, f"the page of {len(step.models)}")
        assert kept(place, RUN).state == step
    assert kept(place, RUN).rows == rows
    for step in steps[:-1]:  # of pods that were thought lost
        keep(place, RUN, step, rows, "an old page")
    assert kept(place, RUN).state == state
    assert objects.read(f"{place}/{RUN}/report.html") == b"the page of 5"
    assert kept(place, "another") is None


def test_a_step_that_was_done_anew_and_a_damaged_state_are_replaced(place, state):
    keep(place, RUN, state, [], "")
    anew = after(state, 3, 1).model_copy(update={"models": [m.model_copy(update={"steps": 41}) for m in state.models[:3]]})
    keep(place, RUN, anew, [], "")
    assert kept(place, RUN).state == anew, "a plan was edited and its iteration run again"
    objects.write(f"{place}/{RUN}/state.json", b"{")
    with pytest.raises(InputError, match=r"state\.json: not JSON"):
        kept(place, RUN)
    keep(place, RUN, state, [], "")
    assert kept(place, RUN).state == state


def test_the_result_of_a_run_in_a_store(place, state, tmp_path, capsys):
    adapter = tmp_path / "trained"
    adapter.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (adapter / name).write_text(name)
    pointer = publish(adapter, f"{place}/shipped", "iteration-1", {"adapter_uri": artifact("train-1", "adapter")})
    run = Run(tmp_path, f"{place}/events")
    run.did("prepare", "train-1", "score-step-matched")
    run.keep(state)
    result = run.publish(capsys, export_uri=f"{place}/shipped")
    assert result.artifacts["report"]["metadata"]["ended"] == "well"
    assert sorted(p.name for p in result.places["adapter"].iterdir()) == sorted(pointer["files"])


def test_a_failed_run_and_an_adapter_of_an_earlier_run_in_a_store(place, state, tmp_path, capsys):
    adapter = tmp_path / "trained"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    uri = f"{place}/earlier/train-1/adapter"
    put(adapter, uri)
    models = [m.model_copy(update={"adapter_uri": uri}) if m.name == "iteration-1" else m for m in state.models]
    run = Run(tmp_path, f"{place}/events")
    run.tell("train-2", "failed", message="ModelError: out of memory")
    run.keep(after(state.model_copy(update={"models": models}), 3, 1))
    result = run.publish(capsys)
    assert result.artifacts["report"]["metadata"]["failed"] == "train-2: ModelError: out of memory"
    assert [p.name for p in result.places["adapter"].iterdir()] == ["adapter_config.json"]
    assert result.artifacts["adapter"]["uri"] == artifact("result", "adapter")
