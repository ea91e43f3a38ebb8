"""What lies at an export place beside the adapter, and what its pointer says: for whoever takes the adapter on.

<uri>/shipped.json          the pointer (store/export.py); its facts, for a reader that has nothing else of the run:

    {"slm": "org/slm", "task": "text_to_sql", "seed": 0, "accuracy": {"test": 0.71}, "adapter_uri": "gs://root/.../adapter",
     "data": {"train": {"source": "gs://data/train.jsonl", "sha256": "9a0364b9..."}}, "pada_agent": "0.1.0"}

<uri>/state.json  report.html  synthetic.jsonl  README.md     as of the last step of the run that wrote here
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pada_agent.components.backends.files import safe_name
from pada_agent.components.backends.record_files import read_json
from pada_agent.components.backends.store.export import shipped
from pada_agent.components.backends.store.objects import read, write
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.cards import ADAPTER, CARD, WHOLE, CardFacts, Form, model_card
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.slm_interface import ADAPTER_FILE
from pada_agent.components.core.state import LATEST_STATE, STATE_FILE, State

MANIFEST = "manifest.json"  # of train_data
REPORT, ROWS, TRAINING = "report.html", "synthetic.jsonl", "train.json"


def facts_of(state: State, train_data: Path) -> dict[str, Any]:
    """What the pointer to the adapter that `state` ships says; without data where somebody else than prepare_data made them."""
    chosen = state.model(state.incumbent)
    grades = {split: round(m.grade.mean, 4) for split, m in chosen.metrics.items() if m.grade}
    manifest = read_json(train_data / MANIFEST) if (train_data / MANIFEST).exists() else {}
    return {
        "slm": state.run.slm,
        "thinking": state.run.thinking,
        "task": state.run.task,
        "seed": state.run.seed,
        "accuracy": {split: round(m.accuracy, 4) for split, m in chosen.metrics.items()},
        **({"score": grades} if grades else {}),
        "adapter_uri": chosen.adapter_uri,
        "data": manifest.get("data", {}),
        "pada_agent": manifest.get("versions", {}).get("pada-agent", ""),
    }


def put_beside(uri: str, state: Path, report: str, rows: bytes) -> None:
    """Put the state's file, the report, the rows and the model card of a run beside its adapter at `uri`. Raises InputError."""
    uri = uri.rstrip("/")
    write(f"{uri}/{REPORT}", report.encode())
    write(f"{uri}/{ROWS}", rows)
    write(f"{uri}/{STATE_FILE}", state.read_bytes())
    try:
        exported = read_exported(uri)
        card = card_of(exported, form=WHOLE if exported.is_whole else ADAPTER)
    except InputError:  # nothing is shipped yet, or what lies here is still another run's
        return
    write(f"{uri}/{CARD}", card.encode("utf-8", "replace"))


@dataclass(frozen=True)
class Exported:
    """A shipped adapter, or a whole model, whose `config` is empty.

    `folder` never changes; `facts` are the pointer's, `config` is PEFT's, `training` is train.json.
    """

    uri: str
    name: str
    folder: str
    facts: Mapping[str, Any]
    state: State
    config: Mapping[str, Any]
    training: Mapping[str, Any]

    @property
    def adapter_uri(self) -> str:
        """Where the adapter's files are."""
        return f"{self.uri}/{self.folder}"

    @property
    def is_whole(self) -> bool:
        """Whether it is no adapter, but a model whose weights were all trained."""
        return of_all_weights(self.training)

    def check_is_adapter(self) -> None:
        """Raises InputError for a whole model."""
        if self.is_whole:
            raise InputError(
                f"{self.adapter_uri}: a model that was fine-tuned as a whole (train.method: full), no adapter on "
                f"{self.training.get('base_model')}: leave out --kserve and --model-registry, and serve or register this folder "
                "itself as a model"
            )


def of_all_weights(training: Mapping[str, Any]) -> bool:
    """Whether train.json says that all weights were trained; earlier releases trained adapters alone."""
    return bool((training.get("train") or {}).get("method") == "full")


def read_exported(uri: str) -> Exported:
    """What lies at `uri`. Raises InputError if nothing does, or not all of it by now."""
    uri = uri.rstrip("/")
    pointer = shipped(uri)
    if pointer is None:
        raise InputError(f"{uri}: no adapter was exported here; give the --export-uri of a run, or --run-dir to export one")
    state = exported_state(uri)
    name, facts = pointer["name"], pointer["facts"]
    if state.model(name).adapter_uri != facts.get("adapter_uri"):
        raise InputError(
            f"{uri}: {STATE_FILE} is not of the run that exported {pointer['folder']}; try again when that has ended"
        )
    training = _json(f"{uri}/{pointer['folder']}/{TRAINING}")
    config = {} if of_all_weights(training) else _json(f"{uri}/{pointer['folder']}/{ADAPTER_FILE}")
    return Exported(uri, name, pointer["folder"], facts, state, config, training)


def model_name(task: str) -> str:
    """What a model for this task is called where nobody says."""
    return f"pada-{task.replace('_', '-')}"


def card_of(exported: Exported, name: str = "", form: Form = ADAPTER, licence: str = "", checked: Sequence[str] = ()) -> str:
    """Its model card; `licence` is the base model's, '' if nobody knows, `checked` says what was tried with this form."""
    release = str(exported.facts.get("pada_agent") or "")
    card = CardFacts(
        name=name or model_name(exported.state.run.task),
        training=exported.training,
        data=dict(exported.facts.get("data") or {}),
        base_licence=licence,
        checked=checked,
        made_by=f"Made by pada-agent {release}." if release else "",
    )
    return model_card(exported.state, gather(exported.state), card, form)


def exported_state(uri: str) -> State:
    """The state that lies at `uri`. Raises InputError if there is none."""
    uri = uri.rstrip("/")
    text = read(f"{uri}/{STATE_FILE}")
    if text is None:
        raise InputError(f"{uri}: {STATE_FILE} is missing; it was exported by an older release, or a run is at it just now")
    return State.parse(text, f"{uri}/{STATE_FILE}")


def run_state(address: str) -> State:
    """The last state of the run whose export place, run directory or state artifact this is. Raises InputError."""
    where = address.rstrip("/")
    latest = read(f"{where}/{LATEST_STATE}")
    if latest is not None:
        where = f"{where}/{safe_name(latest.decode(errors='replace').strip(), f'{where}/{LATEST_STATE}')}"
    text = read(f"{where}/{STATE_FILE}")
    if text is None:
        raise InputError(
            f"{where}: {STATE_FILE} is missing; name a run's export place, its run directory, or an artifact `state` of it"
        )
    return State.parse(text, f"{where}/{STATE_FILE}")


def _json(uri: str) -> dict[str, Any]:
    try:
        value = json.loads(read(uri) or b"")
    except ValueError as e:
        raise InputError(f"{uri}: missing, or not JSON ({e}); export again") from e
    if not isinstance(value, dict):
        raise InputError(f"{uri}: not an object; export again")
    return value
