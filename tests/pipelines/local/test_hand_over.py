"""`pada export --run-dir`: what a run of one machine ships, exported as a pipeline would."""

import json
import shutil

import finished_runs
import pytest

from pada_agent.components.backends.artifacts.exported import read_exported
from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.local.hand_over import hand_over


def test_a_run_directory_that_was_moved(tmp_path):
    made = finished_runs.finished_run(tmp_path / "made")
    run = tmp_path / "moved"
    shutil.move(made, run)
    hand_over(str(run), str(tmp_path / "export"))
    found = read_exported(str(tmp_path / "export"))
    assert found.folder.startswith("iteration-1-")
    assert found.facts["data"] == finished_runs.DATA
    assert "iteration-1" in (tmp_path / "export" / "report.html").read_text().lower().replace(" ", "-")
    assert (tmp_path / "export" / "synthetic.jsonl").read_text() == ""
    pointer = (tmp_path / "export" / "shipped.json").stat().st_mtime_ns
    hand_over(str(run), str(tmp_path / "export"))
    assert (tmp_path / "export" / "shipped.json").stat().st_mtime_ns == pointer


def test_a_run_with_nothing_to_ship(tmp_path):
    run = finished_runs.finished_run(tmp_path / "run")
    shutil.rmtree(run / "06-train-1")
    with pytest.raises(InputError, match=r"06-train-1/adapter: the adapter to ship is not there; `pada run` makes it again"):
        hand_over(str(run), str(tmp_path / "export"))
    state = run / "07-score-1" / "state" / "state.json"
    write_json(state, {**read_json(state), "incumbent": ""})
    with pytest.raises(InputError, match=r"run: no model to ship yet; let the run go on"):
        hand_over(str(run), str(tmp_path / "export"))
    (run / "latest_state").unlink()
    with pytest.raises(InputError, match=r"there is no state here yet"):
        hand_over(str(run), str(tmp_path / "export"))
    assert not (tmp_path / "export").exists()


def test_the_command_says_what_it_exported(pada, tmp_path, monkeypatch):
    run = finished_runs.finished_run(tmp_path / "run")
    code, out, _ = pada("export", "--run-dir", run, "--export-uri", tmp_path / "export")
    assert code == 0
    assert "/iteration-1-" in out
    assert "iteration-1 for text_to_sql; test accuracy 80.0 % (7" in out
    code, _, said = pada("export", "--export-uri", tmp_path / "export", "--kserve", tmp_path / "service.yaml")
    assert code == 1
    assert "KServe cannot fetch the adapter from there; export it to gs:// or s3://" in said
    assert not (tmp_path / "service.yaml").exists()
    monkeypatch.delenv("REGISTRY_TOKEN", raising=False)
    registry = ("--model-registry", "http://127.0.0.1:1", "--token-env", "REGISTRY_TOKEN")
    code, _, said = pada("export", "--export-uri", tmp_path / "export", *registry)
    assert (code, said) == (1, "pada: --token-env REGISTRY_TOKEN: that variable is empty")
    for option, part in (("--namespace", "--kserve"), ("--base-model", "--kserve"), ("--ca-cert", "--model-registry")):
        code, _, said = pada("export", "--export-uri", tmp_path / "export", option, "x")
        assert (code, said) == (1, f"pada: {option}: is for {part}; give that too, or leave it out")
    state = json.loads((tmp_path / "export" / "state.json").read_text())
    write_json(tmp_path / "export" / "state.json", {**state, "decision": {"go_on": True, "reason": ""}})
    _, out, _ = pada("export", "--export-uri", tmp_path / "export")
    assert "its run has not ended, another may come" in out
