"""Runs side by side, as real processes: each on its own cores, its output in its log, a failure said, all ended with us."""

import os
import time
from pathlib import Path

import pytest

from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.pipelines.study.side_by_side import core_shares, run_side_by_side


def note_and_wait(settings, folder: Path) -> None:
    """A run that writes when it was there, and on which cores."""
    folder.mkdir(parents=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    print(f"hello from {folder.name}")
    began = time.time()
    time.sleep(1)
    (folder / "note").write_text(f"{began} {time.time()} {cores} {os.environ['OMP_NUM_THREADS']}")


def fail_if_second(settings, folder: Path) -> None:
    if folder.name == "seed-1":
        raise InputError("train.jsonl: line 3: no such field")
    note_and_wait(settings, folder)


def test_two_at_a_time_then_the_third(tmp_path, settings):
    said: list[str] = []
    folders = [tmp_path / f"seed-{n}" for n in range(3)]
    run_side_by_side([(settings, folder) for folder in folders], 2, note_and_wait, said.append)
    notes = [(folder / "note").read_text().split() for folder in folders]
    spans = [(float(began), float(ended)) for began, ended, *_ in notes]
    assert spans[1][0] < spans[0][1] and spans[0][0] < spans[1][1]
    assert spans[2][0] >= min(spans[0][1], spans[1][1])
    size = len(core_shares(2)[0])
    assert all(int(threads) == size and int(cores) in (0, size) for *_, cores, threads in notes)
    assert (tmp_path / "seed-2.log").read_text() == "hello from seed-2\n"
    assert said.count("seed-0: done") == 1


def test_a_failed_run_is_said_and_no_new_one_is_started(tmp_path, settings):
    folders = [tmp_path / f"seed-{n}" for n in range(4)]
    with pytest.raises(PadaError, match=r"seed-1 stopped: train\.jsonl: line 3: no such field"):
        run_side_by_side([(settings, folder) for folder in folders], 2, fail_if_second, lambda _: None)
    assert (folders[0] / "note").exists()
    assert not (folders[3] / "note").exists()


def test_interrupted_the_runs_end_too(tmp_path, settings):
    def interrupt(text: str) -> None:
        if text.startswith("seed-1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([(settings, tmp_path / f"seed-{n}") for n in range(2)], 2, note_and_wait, interrupt)
    time.sleep(1.5)
    assert not list(tmp_path.glob("seed-*/note"))


def test_cores_are_dealt_out_evenly(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    assert core_shares(2) == [[0, 1], [2, 3]]
    assert core_shares(6) == [[0], [1], [2], [3], [4], [0]]
