"""A process's own folder: there while it lives, gone when it ends, and gone with the next one if it was killed."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from itertools import takewhile
from pathlib import Path

import pytest

from pada_agent.components.backends.temporary import OwnFolder, remove_leftovers

MAKE = """
import os, sys, time
from pathlib import Path
from pada_agent.components.backends.temporary import OwnFolder
own = OwnFolder("own-", Path(sys.argv[1]))
(own.path / "deep" / "er").mkdir(parents=True)
(own.path / "deep" / "file").write_text("x")
(own.path / "deep").chmod(0)
own.path.chmod(0)
print(own.path, flush=True)
{then}
"""


def start(place: Path, then: str) -> tuple[subprocess.Popen[str], Path]:
    command = [sys.executable, "-c", MAKE.format(then=then), str(place)]
    if os.getuid() == 0 and sys.platform == "linux":  # root may enter every folder
        command = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that every user may write."""
    # There is one more above it where tests run side by side.
    for folder in takewhile(lambda folder: folder != Path(tempfile.gettempdir()).resolve(), tmp_path.parents):
        folder.chmod(0o711)
    tmp_path.chmod(0o777)
    return tmp_path


@pytest.mark.parametrize("then", ["own.remove()\nassert not os.listdir(sys.argv[1])", "pass", "raise SystemExit(3)", "1 / 0"])
def test_nothing_stays_behind_a_process_that_ends(place: Path, then: str) -> None:
    process, folder = start(place, then)
    process.communicate()
    assert folder.parent == place
    assert not list(place.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_and_not_before(place: Path) -> None:
    process, folder = start(place, "time.sleep(600)")
    foreign = place / "other-folder"
    foreign.mkdir()
    try:
        with OwnFolder("own-", place) as own:
            assert own.is_dir() and own != folder
            assert folder.exists(), "it is alive"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert folder.exists()
    after, _ = start(place, "pass")
    after.communicate()
    assert list(place.iterdir()) == [foreign]


@pytest.mark.parametrize("left", [["own-1"], ["own-1.lock"], ["own-1", "own-1.lock"]])
def test_leftovers_of_every_moment_of_a_kill(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).touch() if name.endswith(".lock") else (tmp_path / name).mkdir()
    remove_leftovers("own-", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["own-a", "link"])
def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    outside.chmod(0o755)
    with OwnFolder("own-", tmp_path) as own:
        (own.parent if name.startswith("own-") else own).joinpath(name).symlink_to(outside)
    remove_leftovers("own-", tmp_path)
    assert outside.stat().st_mode & 0o777 == 0o755
    assert (outside / "kept").exists()


def test_what_is_left_to_be_read_stays_until_the_next(tmp_path: Path) -> None:
    own = OwnFolder("own-", tmp_path)
    own.leave()
    own.remove()
    assert own.path.exists()
    with OwnFolder("own-", tmp_path):
        assert not own.path.exists()


def test_a_forked_process_does_not_take_it_away(tmp_path: Path) -> None:
    then = "if os.fork() == 0:\n    own.remove()\n    sys.exit()\nos.wait()\nassert own.path.exists()"
    command = [sys.executable, "-c", MAKE.format(then=then), str(tmp_path)]
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert not list(tmp_path.iterdir())


def test_many_at_once_do_not_take_each_others(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom pada_agent.components.backends.temporary import OwnFolder\n"
        "for _ in range(100):\n    with OwnFolder('own-', Path(sys.argv[1])) as own:\n"
        "        (own / 'x').write_text('x')\n        assert (own / 'x').read_text() == 'x'\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert not list(tmp_path.iterdir())


def test_a_lock_that_another_process_cleared_away_before_it_was_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, cleared = fcntl.flock, []

    def late(held: int, how: int) -> None:
        if not cleared:
            cleared.append(held)
            remove_leftovers("own-", tmp_path)
        lock(held, how)

    monkeypatch.setattr("pada_agent.components.backends.temporary.fcntl.flock", late)
    with OwnFolder("own-", tmp_path) as own:
        remove_leftovers("own-", tmp_path)
        assert own.exists()
