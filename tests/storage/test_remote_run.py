"""A run directory at a URI, with small stages: what another machine finds, and who may write."""

import json
import subprocess
import sys

import pytest
import yaml
from fake_stages import Killed
from typer.testing import CliRunner

from pada_agent.components.backends.store import lease, objects
from pada_agent.components.backends.store.events import told
from pada_agent.components.core.errors import InputError
from pada_agent.pipelines import cli
from pada_agent.pipelines.local import remote_run
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.remote_run import open_run, working_copy
from pada_agent.pipelines.local.run import Parts

HOLD = """
import sys, time
from pada_agent.components.backends.store.lease import leased
with leased(sys.argv[1]):
    print(flush=True)
    time.sleep(600)
"""


@pytest.fixture
def run(fakes, tmp_path, settings, monkeypatch, store):
    """Start the run on a machine of the given name: one with a cache of its own."""
    monkeypatch.setattr("os.fsync", lambda fd: None)
    monkeypatch.setattr("gc.collect", lambda: 0)
    one = settings.model_copy(update={"loop": settings.loop.model_copy(update={"iterations": 1})})

    def publish(state, run_dir):
        (run_dir / "report.json").write_text((state / "state.json").read_text())

    def start(machine, until="", settings=one, uri=f"{store.uri}/run"):
        monkeypatch.setenv("PADA_RUNS", str(tmp_path / machine))
        fakes.calls.clear()
        return local.run(settings, uri, until, Parts(stage=fakes.table().__getitem__, publish=publish))

    return start


def state_of(outcome):
    return json.loads((outcome.state / "state.json").read_text())


def edit(outcome, text):
    (outcome.tasks["analyze-1"]["plan"] / "strategies.yaml").write_text(yaml.safe_dump([text]))


def adapter_of(outcome):
    return (outcome.tasks["train-1"]["adapter"] / "weights.txt").read_text()


def test_another_machine_finds_everything_and_repeats_nothing(run, fakes, store, tmp_path):
    first = run("a")
    calls, names = len(fakes.calls), objects.names(f"{store.uri}/run")
    assert sum(name.endswith("/manifest.json") for name in names) == calls == len(first.tasks)
    assert not [name for name in names if name.startswith((".", "lease", "checkpoints"))]
    second = run("b")
    assert fakes.calls == []
    assert state_of(second) == state_of(first)
    assert second.run_dir.is_relative_to(tmp_path / "b")
    assert objects.read(f"{store.uri}/run/report.json") == (first.run_dir / "report.json").read_bytes()
    assert objects.read(f"{store.uri}/run/latest_state") == (second.run_dir / "latest_state").read_bytes()


def test_what_must_outlive_the_machine_is_at_the_uri_and_artifacts_are_local(run, fakes, store):
    outcome = run("a")
    given = {i["name"]: i for i in fakes.inputs}
    assert given["generate-1-1"]["parameterValues"]["ledger"] == f"{store.uri}/run/ledger/generate_data"
    assert given["train-1"]["parameterValues"]["checkpoint_uri"].startswith(f"{store.uri}/run/checkpoints/train-1-")
    assert {event.task for event in told(f"{store.uri}/run/events", "here").values()} == set(outcome.tasks)
    uri = given["train-1"]["artifacts"]["train_data"]["artifacts"][0]["uri"]
    assert uri == str(outcome.run_dir / "01-prepare" / "train_data")


@pytest.mark.parametrize("task", ["prepare", "control-1-1", "train-1"])
def test_killed_in_a_task_another_machine_goes_on_with_it(run, fakes, task, tmp_path):
    fakes.die_in = task
    with pytest.raises(Killed):
        run("a")
    before = fakes.calls.copy()
    fakes.die_in = ""
    outcome = run("b")
    assert fakes.calls[0] == task and [*before[:-1], *fakes.calls] == list(outcome.tasks)
    run("a")
    assert fakes.calls == []


@pytest.mark.parametrize("puts", [1, 4])
def test_killed_in_an_upload_the_half_task_is_not_taken_for_whole(run, fakes, monkeypatch, puts):
    run("a", until="evaluate")
    left = [puts]

    def put(path, uri):
        left[0] -= "-start/" in uri
        if not left[0]:
            raise Killed
        keep(path, uri)

    keep = remote_run.put
    monkeypatch.setattr(remote_run, "put", put)
    with pytest.raises(Killed):
        run("a")
    assert fakes.calls == ["start"]
    monkeypatch.setattr(remote_run, "put", keep)
    run("b", until="start")
    assert fakes.calls == ["start"]
    run("a")
    assert fakes.calls[0] == "analyze-1"


def test_what_was_finished_here_but_not_uploaded_is_not_run_again(run, fakes, monkeypatch):
    keep = remote_run.put
    monkeypatch.setattr(remote_run, "put", lambda path, uri: keep(path, uri) if "-evaluate-vanilla/" not in uri else _refuse(uri))
    with pytest.raises(InputError, match="away for a moment"):
        run("a")
    monkeypatch.setattr(remote_run, "put", keep)
    run("a", until="evaluate")
    assert fakes.calls == []
    run("b", until="evaluate")
    assert fakes.calls == []


def _refuse(uri):
    raise InputError(f"{uri}: away for a moment")


def test_an_edit_travels_and_newer_work_takes_the_place_of_older(run, fakes, store, capsys):
    edit(run("a", until="analyze"), "edited on a")
    run("a", until="generate")
    assert adapter_of(run("b")) == yaml.safe_dump(["edited on a"])
    assert fakes.calls[0] == "train-1"
    changed = run("b", until="analyze")
    edit(changed, "edited on b")
    run("b")
    capsys.readouterr()
    assert adapter_of(run("a")) == yaml.safe_dump(["edited on b"])
    assert fakes.calls == []
    assert f"-analyze-1: {store.uri}/run has another one by now" in capsys.readouterr().err


def test_empty_folders_come_along_and_leftovers_do_not(run, fakes, store):
    write = fakes._analyze_patterns

    def analyze(ex, name):
        write(ex, name)
        (ex.output("analyses") / "half.txt").unlink()

    fakes._analyze_patterns = analyze
    name = run("a", until="analyze").tasks["analyze-1"].folder.name
    objects.write(f"{store.uri}/run/{name}/plan/old.yaml", b"of an earlier try")
    folder = run("b", until="analyze").tasks["analyze-1"].folder
    assert fakes.calls == []
    assert (folder / "analyses").is_dir() and not list((folder / "analyses").iterdir())
    assert sorted(p.name for p in (folder / "plan").iterdir()) == ["half.txt", "strategies.yaml"]


@pytest.mark.parametrize("damage", ["file", "manifest"])
def test_a_task_that_was_damaged_at_the_uri_runs_again(run, fakes, store, damage):
    folder = run("a", until="analyze").tasks["analyze-1"].folder.name
    name = "plan/strategies.yaml" if damage == "file" else "manifest.json"
    objects.write(f"{store.uri}/run/{folder}/{name}", b"- damaged\n")
    run("b", until="analyze")
    assert fakes.calls == ["analyze-1"]
    run("c", until="analyze")
    assert fakes.calls == []


def test_other_settings_are_refused_on_every_machine(run, settings):
    run("a", until="prepare")
    with pytest.raises(InputError, match=r"was started with other settings: .*seed \(0 there, 1 now\)"):
        run("b", settings=settings.model_copy(update={"seed": 1}))


def test_a_second_process_is_refused_and_leaves_the_first_alone(run, fakes, store):
    other = subprocess.Popen([sys.executable, "-c", HOLD, f"{store.uri}/run"], stdout=subprocess.PIPE)
    other.stdout.readline()
    try:
        with pytest.raises(InputError, match=rf"^{store.uri}/run: process {other.pid} on \S+ is running here"):
            run("a")
        assert fakes.calls == []
    finally:
        other.kill()
        other.communicate()
    run("a", until="prepare")


def test_who_lost_the_run_to_another_stops_and_writes_nothing_more(run, fakes, store, monkeypatch):
    write = fakes._train_lora

    def train(ex, name):
        write(ex, name)
        taken = objects.names(f"{store.uri}/run/lease")
        objects.write(f"{store.uri}/run/lease/000002.json", b'{"host": "node-4", "pid": 7, "time": 1.0, "token": "theirs"}')
        held[0].renew()
        assert taken == ["000001.json"]

    held = []
    take = lease.Lease.take
    monkeypatch.setattr(lease.Lease, "take", lambda self: (held.append(self), take(self)))
    fakes._train_lora = train
    with pytest.raises(InputError, match="process 7 on node-4 has taken over this run, so this process stops"):
        run("a")
    assert not [name for name in objects.names(f"{store.uri}/run") if "-train-vanilla/" in name]
    assert objects.names(f"{store.uri}/run/lease")[-1] == "000002.json"


def test_errors_are_one_line(run, store):
    with pytest.raises(InputError, match=r"^s3://bucket/: give a folder in the bucket, such as s3://bucket/runs/a$"):
        open_run("s3://bucket/")
    uri = f"{store.scheme}://nobody-made-this/run"
    with pytest.raises(InputError, match=f"^{uri}/lease: there is no such bucket$"):
        run("a", uri=uri)


def test_without_the_right_to_write_nothing_starts(s3, settings, fakes, tmp_path, monkeypatch):
    monkeypatch.setenv("PADA_RUNS", str(tmp_path))
    with (
        s3.at(s3.endpoint, AWS_ACCESS_KEY_ID="reader").used(),
        pytest.raises(InputError, match=r"^s3://runs/\w+/run/lease/000001.json: no permission"),
    ):
        local.run(settings, f"{s3.uri}/run", "", Parts(stage=fakes.table().__getitem__))
    assert fakes.calls == []


def test_the_report_is_made_again_from_another_machine(run, store, tmp_path, monkeypatch):
    run("a")
    monkeypatch.setenv("PADA_RUNS", str(tmp_path / "b"))
    monkeypatch.setattr(
        "pada_agent.pipelines.local.outcome.publish", lambda state, folder: (folder / "report.html").write_text(str(state.name))
    )
    done = CliRunner().invoke(cli.app, ["report", "--run-dir", f"{store.uri}/run/"])
    assert done.exit_code == 0, done.output
    assert str(working_copy(f"{store.uri}/run") / "report.html") in done.output
    assert objects.read(f"{store.uri}/run/report.html") == b"state"
