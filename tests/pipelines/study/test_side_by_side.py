"""Runs side by side, as real processes: each with its cores and its GPU, its output in its log, all ended with us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.study import side_by_side
from pada_agent.pipelines.study.side_by_side import Item, run_side_by_side, shares

SECOND = 1.5


def note_and_wait(folder: Path) -> None:
    """A run that writes when it was there, and on which cores."""
    folder.mkdir(parents=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    print(f"hello from {folder.name}")
    began = time.time()
    time.sleep(SECOND)
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    (folder / "note").write_text(f"{began} {time.time()} {cores} {os.environ['OMP_NUM_THREADS']} {gpu}")


def fail_if_second(folder: Path) -> None:
    if folder.name == "run-1":
        raise InputError("train.jsonl: line 3: no such field")
    note_and_wait(folder)


def break_down(folder: Path) -> None:
    if folder.name == "run-0":
        raise ZeroDivisionError("a bug")
    print("reading", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def items(folder: Path, count: int, needs: dict[int, int] | None = None) -> list[Item]:
    return [
        Item(f"run-{n}", folder / f"run-{n}", folder / f"run-{n}", f"run-{needs[n]}" if needs and n in needs else "")
        for n in range(count)
    ]


def run(todo, jobs, start, say=lambda _: None):
    """The failures, and the names of what ended well in that order."""
    well: list[str] = []
    return run_side_by_side(todo, jobs, start, say, lambda item: well.append(item.name)), well


def notes_of(todo):
    return [(item.folder / "note").read_text().split() for item in todo]


def test_two_at_a_time_then_the_third(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    said: list[str] = []
    todo = items(tmp_path, 3)
    assert run(todo, 2, note_and_wait, said.append)[0] == {}
    notes = notes_of(todo)
    spans = [(float(began), float(ended)) for began, ended, *_ in notes]
    assert spans[1][0] < spans[0][1] and spans[0][0] < spans[1][1]
    assert spans[2][0] >= min(spans[0][1], spans[1][1])
    size = len(shares(2)[0].cores)
    assert all(int(threads) == size and int(cores) in (0, size) for *_, cores, threads, _ in notes)
    assert {notes[0][-1], notes[1][-1]} == {"4", "5"}
    assert todo[2].log.read_text() == "hello from run-2\n"
    assert said.count("run-0: done") == 1


def test_what_needs_another_run_starts_after_it_while_others_go_ahead(tmp_path):
    todo = items(tmp_path, 3, needs={1: 0})
    failed, well = run(todo, 2, note_and_wait)
    spans = [(float(began), float(ended)) for began, ended, *_ in notes_of(todo)]
    assert not failed and sorted(well) == ["run-0", "run-1", "run-2"]
    assert spans[1][0] >= spans[0][1]
    assert spans[2][0] < spans[0][1]


def test_a_failure_stops_only_what_needs_it(tmp_path):
    said: list[str] = []
    failed, well = run(items(tmp_path, 4, needs={2: 1}), 2, fail_if_second, said.append)
    assert failed == {"run-1": "train.jsonl: line 3: no such field", "run-2": "it needs run-1, which failed"}
    assert sorted(well) == ["run-0", "run-3"]
    assert "run-1: failed: train.jsonl: line 3: no such field" in said


def test_a_bug_and_a_death_are_told_by_their_last_line(tmp_path):
    todo = items(tmp_path, 2)
    failed, _ = run(todo, 2, break_down)
    assert failed == {"run-0": "ZeroDivisionError: a bug", "run-1": "ended by SIGKILL, after: reading"}
    assert "Traceback" in todo[0].log.read_text()


def test_interrupted_the_runs_end_too(tmp_path):
    def interrupt(text: str) -> None:
        if text.startswith("run-1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(items(tmp_path, 2), 2, note_and_wait, interrupt)
    time.sleep(1.5 * SECOND)
    assert not list(tmp_path.glob("run-*/note"))


def wait_long(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "pid").write_text(str(os.getpid()))
    try:
        time.sleep(300)
    finally:
        (folder / "ended").write_text("in order")


def test_a_parent_that_is_killed_takes_its_runs_along(tmp_path):
    program = (
        "from pathlib import Path; import test_side_by_side as t\n"
        f"if __name__ == '__main__': t.run(t.items(Path({str(tmp_path)!r}), 1), 1, t.wait_long)"
    )
    (tmp_path / "program.py").write_text(program)
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    parent = subprocess.Popen([sys.executable, str(tmp_path / "program.py")], env={**os.environ, "PYTHONPATH": path})
    _until(lambda: (tmp_path / "run-0" / "pid").exists() and (tmp_path / "run-0" / "pid").read_text())
    parent.kill()
    parent.wait()
    _until((tmp_path / "run-0" / "ended").exists)


def _until(happened) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_cores_and_gpus_are_dealt_out_evenly(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
    assert [(s.cores, s.gpu) for s in shares(2)] == [([0, 1], "GPU-a"), ([2, 3], "GPU-b")]
    assert [s.cores for s in shares(6)] == [[0], [1], [2], [3], [4], [0]]
    assert [s.gpu for s in shares(3)] == ["GPU-a", "GPU-b", "GPU-a"]


def test_gpus_are_those_that_are_allowed_or_else_all_there_are(monkeypatch, tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert side_by_side._gpus(tmp_path) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert side_by_side._gpus(tmp_path) == []
