"""What lies at an export place: read back as it was written, and refused where it is not whole."""

import json
from pathlib import Path

import finished_runs
import pytest

from pada_agent.components.backends.artifacts.exported import facts_of, put_beside, read_exported
from pada_agent.components.backends.record_files import write_json
from pada_agent.components.backends.store.export import publish
from pada_agent.components.core.errors import InputError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An export place, written as update_state does."""
    run = finished_runs.finished_run(tmp_path / "run")
    adapter, data = run / "06-train-1" / "adapter", run / "01-prepare" / "train_data"
    (run / "report.html").write_text("a report")
    (run / "rows.jsonl").write_text("")
    publish(adapter, str(tmp_path / "export"), "iteration-1", facts_of(finished_runs.state(str(adapter)), data))
    put_beside(
        str(tmp_path / "export"),
        run / "07-score-1" / "state" / "state.json",
        (run / "report.html").read_text(),
        (run / "rows.jsonl").read_bytes(),
    )
    return tmp_path / "export"


def test_what_was_written_is_read(place: Path, tmp_path: Path) -> None:
    found = read_exported(f"{place}/")
    assert found.name == "iteration-1"
    assert Path(found.adapter_uri, "adapter_model.safetensors").read_bytes() == b"weights"
    assert found.facts == {
        "slm": "org/slm",
        "thinking": False,
        "task": "text_to_sql",
        "seed": 3,
        "accuracy": {"test": 0.8, "selection": 0.8},
        "adapter_uri": str(tmp_path / "run" / "06-train-1" / "adapter"),
        "data": finished_runs.DATA,
        "pada_agent": "0.1.0",
    }
    assert (found.config, found.training) == (finished_runs.CONFIG, finished_runs.TRAINING)
    assert found.state == finished_runs.state(found.facts["adapter_uri"])
    beside = {"shipped.json", "state.json", "report.html", "synthetic.jsonl", "README.md"}
    assert {p.name for p in place.iterdir() if p.is_file()} == beside


def test_training_rows_of_ones_own_need_no_manifest(tmp_path: Path) -> None:
    facts = facts_of(finished_runs.state("gs://a/adapter"), tmp_path)
    assert (facts["data"], facts["pada_agent"]) == ({}, "")


def test_nothing_was_exported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no adapter was exported here; give the --export-uri of a run, or --run-dir"):
        read_exported(str(tmp_path / "nowhere"))


def test_a_place_that_is_not_whole_is_refused(place: Path) -> None:
    (config,) = place.glob("iteration-1-*/adapter_config.json")
    kept = config.read_text()
    for text in ("", "[]"):
        config.write_text(text)
        with pytest.raises(InputError, match=r"adapter_config.json: .*; export again"):
            read_exported(str(place))
    config.write_text(kept)
    other = json.loads((place / "state.json").read_text())
    other["models"][2]["adapter_uri"] = "gs://other/adapter"
    write_json(place / "state.json", other)
    with pytest.raises(InputError, match=r"state.json is not of the run that exported iteration-1-\w+; try again"):
        read_exported(str(place))
    (place / "state.json").unlink()
    with pytest.raises(InputError, match=r"state.json is missing; it was exported by an older release"):
        read_exported(str(place))
