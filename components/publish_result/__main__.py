"""Entry point: what a run left at URIs in; its report, metrics and shipped adapter out."""

import shutil
from pathlib import Path
from typing import Any

from pada_agent.components.backends.artifacts.kept import Kept, kept
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.files import whole_directory, write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import write_json
from pada_agent.components.backends.store.events import runs, told
from pada_agent.components.backends.store.export import fetch_shipped, shipped
from pada_agent.components.backends.store.transfer import fetch
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.places import Place, place_of
from pada_agent.components.core.report.facts import Facts, Lead
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.report.page import render, render_lead
from pada_agent.components.core.report.summary import summary, worded
from pada_agent.components.core.slm_interface import ADAPTER_FILE, TRAINED_FILES
from pada_agent.components.core.state import ModelRecord, State
from pada_agent.components.publish_result.ending import lead, troubles, unheard


def run(ex: Executor) -> None:
    """Read, judge, publish."""
    events_uri = ex.events_uri
    here = place_of(ex.output_uri("report"))
    if not events_uri:
        raise InputError("work_uri: missing; give the folder that the other stages were given")
    if here is None:
        raise InputError(f"{ex.output_uri('report')}: no run can be told from this URI")
    events = [event for event in told(events_uri, here.run).values() if event.task != here.task]
    own = _kept(events_uri, here.run)
    state = own.state if own else None
    facts = gather(state) if state else None
    found = troubles(events, state)
    if own or events:
        shown, above = own, lead(found, events, state)
    else:
        other, shown = _newest(events_uri, here.run)
        above = unheard(here.run, other)
    write_atomic(ex.output("report"), _page(shown, facts, above))
    ended = {found[0].kind: f"{found[0].task}: {found[0].sentence}"} if found else {"ended": above.headline} if above else {}
    numbers = summary(facts) if facts else {}
    numbers |= {f"{trouble.kind}: {trouble.task}": 1 for trouble in found}
    write_json(ex.output("metrics"), numbers)
    ex.set_metadata("metrics", **numbers)
    ex.set_metadata("report", run=here.run, **(ended or {"ended": "well"}))
    ex.set_metadata("adapter", **_adapter(ex, str(ex.parameter("export_uri", "")), state, here))
    ex.say_numbers({**ended, **(worded(facts) if facts else {})})
    ex.finish()


def _kept(events_uri: str, name: str) -> Kept | None:
    """What cannot be read is not there: the rest is worth telling."""
    try:
        return kept(events_uri, name)
    except InputError as e:
        notice(str(e))
        return None


def _newest(events_uri: str, but: str) -> tuple[str, Kept | None]:
    """The run that told something last and left a state, and what it left."""
    others = (name for name in reversed(runs(events_uri)) if name != but)
    return next(((name, left) for name in others if (left := _kept(events_uri, name))), ("", None))


def _page(shown: Kept | None, facts: Facts | None, above: Lead | None) -> str:
    if shown is not None:
        return render(shown.state, shown.rows, facts, above)
    assert above is not None, "a run without a state is not over"
    return render_lead(above)


def _adapter(ex: Executor, export_uri: str, state: State | None, here: Place) -> dict[str, Any]:
    """Publish the model that the run ships, or would ship; what there is to say of it."""
    if state is None or not state.incumbent:
        ex.output("adapter").mkdir(exist_ok=True)  # Kubeflow registers every output: this one has nothing in it
        return {"shipped": "", "note": "this run came to no model to ship"}
    model = state.model(state.incumbent)
    about: dict[str, Any] = {"shipped": model.name, "final": state.over, "adapter_uri": model.adapter_uri, "slm": state.run.slm}
    if test := model.metrics.get("test"):
        about["test_accuracy"] = round(test.accuracy, 4)
        about |= {"test_score": round(test.grade.mean, 4)} if test.grade else {}
    notes = []
    with OwnFolder("pada-result-") as folder:
        try:
            if export_uri:
                _copy(ex, _exported(export_uri, model, folder))
                return {**about, "from": export_uri}
        except InputError as e:
            notes.append(str(e))
        place = place_of(model.adapter_uri)
        try:
            if place and (place.root, place.run) == (here.root, here.run):
                ex.point("adapter", model.adapter_uri)
            else:  # of a task that was taken over from another run
                _copy(ex, fetch(model.adapter_uri, folder))
        except InputError as e:
            notes.append(str(e))
            ex.output("adapter").mkdir(exist_ok=True)
    for note in notes:
        notice(note)
    return {**about, **({"note": "; ".join(notes)} if notes else {})}


def _exported(uri: str, model: ModelRecord, into: Path) -> Path:
    """The exported adapter, if it is this model. Raises InputError."""
    pointer = shipped(uri) or {}
    if (pointer.get("name"), pointer.get("facts", {}).get("adapter_uri")) != (model.name, model.adapter_uri):
        whose = f"the adapter of another run lies there ({pointer['name']})" if pointer else "nothing lies there"
        raise InputError(f"{uri}: {whose}; this run ships {model.name}, {model.adapter_uri}")
    return fetch_shipped(uri, into)


def _copy(ex: Executor, adapter: Path) -> None:
    marker = next((file for file in TRAINED_FILES if (adapter / file).is_file()), "")
    if not marker:
        raise InputError(f"{adapter}: no adapter, it has no {ADAPTER_FILE}")
    with whole_directory(ex.output("adapter", marker)) as folder:
        shutil.copytree(adapter, folder, dirs_exist_ok=True)


if __name__ == "__main__":
    main(run)
