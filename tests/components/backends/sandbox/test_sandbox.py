"""The sandbox: what must pass, what must not, and what must be gone afterwards; with and without namespaces."""

import os
import shutil
import socket
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from pada_agent.components.backends.sandbox import run as sandbox
from pada_agent.components.backends.sandbox.run import run_code, run_in_child, sandbox_canary
from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.tasks.task import CodeResult

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
SEPARATE = run_code("import os\nassert os.getpid() == 1", 10).passed


@pytest.fixture(params=[True, False], ids=["namespaces", "no namespaces"])
def namespaces(request: pytest.FixtureRequest) -> bool:
    if request.param and not SEPARATE:
        pytest.skip("this kernel gives no namespaces")
    return bool(request.param)


def alive(marker: str) -> int:
    """Processes whose command line has the marker."""
    count = 0
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            count += entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes()
    return count


@pytest.mark.parametrize(
    "program",
    [
        "def add(a, b):\n    return a + b\nassert add(1, 2) == 3",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nassert P(1) == P(1)",
        "import collections, decimal, hashlib, heapq, itertools, math, re, sqlite3, string, typing",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "open('note.txt', 'w').write('x')\nassert open('note.txt').read() == 'x'",
    ],
)
def test_right_programs_pass(program: str, namespaces: bool) -> None:
    assert run_in_child(program, 10, namespaces) == CodeResult(passed=True)


@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("assert 1 == 2", "AssertionError (line 1: assert 1 == 2)"),
        ("x = 1\ny = [][1]", "IndexError: list index out of range (line 2"),
        ("def f(:", "SyntaxError"),
        ("import numpy", "No module named 'numpy'"),
        ("import os\nos._exit(0)\nassert False", "ended before its last line, with exit status 0"),
        ("import sys\nsys.exit(0)\nassert False", "SystemExit: 0"),
        ("raise SystemExit", "SystemExit"),
        ("print('PASS')\nassert False", "AssertionError"),
        ("import os\nos.execv('/bin/true', ['true'])", "exit status 0"),
        ("import ctypes\nctypes.string_at(0)", "by signal 11"),
        ("class E(Exception):\n    def __str__(self):\n        raise KeyError\nraise E", "E (line 4: raise E)"),
        ("import os, time\nif os.fork():\n    time.sleep(60)", "ran longer than 2 s"),
        ("input()", "EOFError"),
        ("\x00", "null bytes"),
        ("x = '\ud800'", "UnicodeEncodeError"),
    ],
)
def test_what_does_not_come_to_its_end_does_not_pass(program: str, detail: str, namespaces: bool) -> None:
    result = run_in_child(program, 2, namespaces)
    assert not result.passed
    assert detail in result.detail


def test_an_infinite_loop_is_stopped_in_time(namespaces: bool) -> None:
    started = time.monotonic()
    result = run_in_child("while True:\n    try:\n        pass\n    except BaseException:\n        pass", 1, namespaces)
    assert (result.passed, result.detail) == (False, "ran longer than 1 s")
    assert time.monotonic() - started < 6


def test_the_time_limit_does_not_count_what_starting_takes() -> None:
    assert run_code("x = 1", 0.5).passed


def test_a_fork_bomb_is_bounded_and_leaves_nothing(namespaces: bool) -> None:
    marker = f"bomb-{uuid.uuid4().hex}"
    program = (
        "import os\ncount = 0\ntry:\n    while count < 5000:\n"
        f"        if os.fork() == 0:\n            os.execv('/bin/sleep', ['{marker}', '60'])\n        count += 1\n"
        "except OSError:\n    pass\nassert 0 < count < 200, count"
    )
    result = run_in_child(program, 10, namespaces)
    assert result.passed, result.detail
    assert alive(marker) == 0
    started = time.monotonic()
    endless = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    assert run_in_child(endless, 0.5, namespaces).detail == "ran longer than 0.5 s"
    assert time.monotonic() - started < 10


def test_a_child_does_not_outlive_its_program(namespaces: bool) -> None:
    marker = f"orphan-{uuid.uuid4().hex}"
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        os.execv('/bin/sleep', ['{marker}', '60'])\n    os._exit(0)\ntime.sleep(0.3)"
    )
    assert run_in_child(program, 5, namespaces).passed
    assert alive(marker) == 0


@pytest.mark.parametrize("way", ["outside", "orphaned"])
def test_nothing_outlives_a_program_that_is_killed_from_outside(
    namespaces: bool, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    marker = f"setsid-{uuid.uuid4().hex}"
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.setsid()\n"
        f"        os.execv('/bin/sleep', ['{marker}', '60'])\n    os._exit(0)\ntime.sleep(60)"
    )
    if way == "outside":
        monkeypatch.setattr(sandbox, "_GRACE_SECONDS", -28.0)
        assert "killed from outside" in run_in_child(program, 30, namespaces).detail
    else:
        asker = os.fork()
        if asker == 0:
            run_in_child(program, 30, namespaces)
            os._exit(0)
        until = time.monotonic() + 10
        while not alive(marker) and time.monotonic() < until:
            time.sleep(0.1)
        assert alive(marker) == 1
        os.kill(asker, 9)
        os.waitpid(asker, 0)
        time.sleep(1)
    assert alive(marker) == 0


TO_THE_WATCHER = """
import os, time
while True:
    for descriptor in range(3, 64):
        try:
            {do}
        except OSError:
            pass
    time.sleep({pause})
"""


@pytest.mark.parametrize(
    "do",
    ["os.write(descriptor, b'x')", "os.close(descriptor)", "os.close(descriptor % 3)"],
    ids=["no newline", "closed", "stdout"],
)
def test_what_a_program_does_to_the_answer_does_not_keep_the_watcher_from_the_deadline(namespaces: bool, do: str) -> None:
    started = time.monotonic()
    result = run_in_child(TO_THE_WATCHER.format(do=do, pause=0.002), 2, namespaces)
    assert (result.passed, result.detail) == (False, "ran longer than 2 s")
    assert time.monotonic() - started < 8


def test_endless_bytes_are_no_pass_and_end_soon(namespaces: bool) -> None:
    started = time.monotonic()
    assert not run_in_child(TO_THE_WATCHER.format(do="os.write(descriptor, b'x' * 4096)", pause=0), 2, namespaces).passed
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("how", ["open({file!r}).read()", "open({file!r}, 'w').write('x')", "open({file!r} + '.new', 'w')"])
def test_an_ordinary_users_files_are_neither_read_nor_written(namespaces: bool, how: str) -> None:
    """A project outside of what namespaces cover: Landlock holds it in both ways."""
    folder = Path(tempfile.mkdtemp(dir="/srv"))
    try:
        folder.chmod(0o777)
        file = folder / "notes.txt"
        file.write_text("another project's")
        file.chmod(0o666)
        detail = run_in_child(how.format(file=str(file)), 5, namespaces).detail
        assert "PermissionError" in detail
        assert [p.name for p in folder.iterdir()] == ["notes.txt"] and file.read_text() == "another project's"
    finally:
        shutil.rmtree(folder)


def test_the_marker_test_above_would_see_a_survivor() -> None:
    marker = f"survivor-{uuid.uuid4().hex}"
    pid = os.spawnv(os.P_NOWAIT, "/bin/sleep", [marker, "30"])
    time.sleep(0.2)
    seen = alive(marker)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert seen == 1


def test_killing_the_watcher_is_no_pass(namespaces: bool) -> None:
    # Among namespaces the parent cannot be seen, and its number is 0: the signal hits the program's own group.
    result = run_in_child("import os\nos.kill(os.getppid() or os.getpid(), 9)\nos._exit(0)", 3, namespaces)
    assert not result.passed


def test_memory_files_and_core_are_limited(namespaces: bool) -> None:
    assert "MemoryError" in run_in_child("x = bytearray(3 << 30)", 5, namespaces).detail
    assert "File too large" in run_in_child("f = open('a', 'wb')\nwhile True:\n    f.write(bytes(1 << 20))", 5, namespaces).detail
    assert "Too many open files" in run_in_child("f = [open('/dev/null') for _ in range(1000)]", 5, namespaces).detail
    limits = "import resource\nassert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)"
    assert run_in_child(limits, 5, namespaces).passed


def test_huge_output_goes_nowhere(namespaces: bool) -> None:
    program = "import sys\nfor _ in range(2000):\n    print('x' * 100000)\n    print('y' * 100000, file=sys.stderr)"
    assert run_in_child(program, 10, namespaces).passed
    long_message = run_in_child("raise ValueError('z' * 10_000_000)", 10, namespaces)
    assert not long_message.passed
    assert len(long_message.detail) < 1000


def test_the_environment_is_empty(namespaces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    program = "import os\nassert not os.environ, dict(os.environ)\nassert not open('/proc/self/environ').read()"
    result = run_in_child(program, 5, namespaces)
    assert result.passed, result.detail


def test_nothing_is_inherited_but_the_answer(namespaces: bool) -> None:
    program = "import os\nfound = set(os.listdir('/proc/self/fd'))\nassert len(found) <= 5, found"
    result = run_in_child(program, 5, namespaces)
    assert result.passed, result.detail


@pytest.mark.skipif(os.getuid() != 0, reason="only root has rights to give up")
def test_root_is_given_up(namespaces: bool) -> None:
    program = (
        "import os\nassert os.getuid() > 1000 and os.getgid() > 1000 and not os.getgroups()\n"
        "try:\n    os.setuid(0)\nexcept PermissionError:\n    pass\nelse:\n    raise AssertionError"
    )
    result = run_in_child(program, 5, namespaces)
    assert result.passed, result.detail


def test_there_is_no_network(namespaces: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        program = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
        detail = run_in_child(program, 5, namespaces).detail
        assert "Operation not permitted" in detail
        with pytest.raises(TimeoutError):
            server.accept()
        exec(program)
        server.accept()[0].close()
    datagrams = "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"
    assert not run_in_child(datagrams, 5, namespaces).passed
    assert run_in_child("import asyncio\nasyncio.run(asyncio.sleep(0))", 5, namespaces).passed


def test_other_peoples_files_cannot_be_seen(namespaces: bool) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as secret:
        os.chmod(secret.name, 0o644)
        kind = "FileNotFoundError" if namespaces else "PermissionError"
        assert kind in run_in_child(f"open({secret.name!r})", 5, namespaces).detail
    seen = (
        "import os\nfor folder in ('/tmp', '/root', '/run'):\n    try:\n        found = os.listdir(folder)\n"
        "    except PermissionError:\n        continue\n    assert len(found) <= 1, found"
    )
    assert run_in_child(seen, 5, namespaces).passed


def test_without_namespaces_other_processes_cannot_be_seen_and_nothing_opens_the_fence() -> None:
    assert "PermissionError" in run_in_child(f"open('/proc/{os.getpid()}/environ')", 5, False).detail
    assert "PermissionError" in run_in_child("import os\nos.listdir('/proc')", 5, False).detail
    assert "PermissionError" in run_in_child("import os\nos.kill(os.getppid(), 0)", 5, False).detail
    in_a_child = "import subprocess, sys\nassert subprocess.run(['/bin/cat', '/etc/passwd']).returncode == 1"
    assert run_in_child(in_a_child, 5, False).passed
    assert "ModuleNotFoundError" in run_in_child("import fence", 5, False).detail


OTHER_DOORS = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall(0x40000000 + 41, 2, 1, 0) == -1 and ctypes.get_errno() == 1, "x32"
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("53b814000000cd805bc3"))  # push rbx; mov eax, getpid; int 0x80; pop rbx; ret
getpid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
assert getpid() < 0, "32 bits"
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the other tables of system calls are x86-64's")
def test_the_fence_has_no_door_for_other_tables_of_system_calls() -> None:
    result = run_in_child(OTHER_DOORS, 5, namespaces=False)
    assert result.passed, result.detail


WRITE = """
import os
for place in {places!r}:
    try:
        with open(os.path.join(place, {name!r}), 'w') as f:
            f.write('x')
    except OSError:
        pass
open('mine', 'w').write('x')
"""


def test_nothing_is_written_outside_its_folder(namespaces: bool) -> None:
    """Among namespaces it may write into file systems of its own that lie over the places; those go with it."""
    name = f"written-{uuid.uuid4().hex}"
    places = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/", "/usr", "..", str(Path.home()), str(Path(__file__).parent)]
    result = run_in_child(WRITE.format(places=places, name=name), 5, namespaces)
    assert result.passed, result.detail
    assert not [place for place in [*places, tempfile.gettempdir()] if (Path(place) / name).exists()]


def test_a_thread_does_not_outlive_its_program(namespaces: bool) -> None:
    marker = f"thread-{uuid.uuid4().hex}"
    program = (
        "import os, threading, time\ndef later():\n    while True:\n        time.sleep(0.3)\n"
        f"        if os.fork() == 0:\n            os.execv('/bin/sleep', ['{marker}', '60'])\n"
        "threading.Thread(target=later).start()\nassert threading.active_count() == 2"
    )
    started = time.monotonic()
    assert run_in_child(program, 60, namespaces).passed
    assert time.monotonic() - started < 30, "it was waited for"
    time.sleep(0.6)
    assert alive(marker) == 0


def test_the_working_folder_is_deleted(namespaces: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = "import os\nassert not os.listdir('.')\nos.mkdir('d')\nopen('d/f', 'w').write('x')\nos.chmod('d', 0)"
    result = run_in_child(program, 5, namespaces)
    assert result.passed, result.detail
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_killed_run_goes_with_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, foreign = tmp_path / "pada-sandbox-a", tmp_path / "sandbox-b"
    old.mkdir()
    foreign.mkdir()
    assert run_code("x = 1", 5).passed
    assert list(tmp_path.iterdir()) == [foreign]


def test_the_canary_sings_and_notices_a_sandbox_that_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox_canary()
    monkeypatch.setattr(sandbox, "run_code", lambda program, seconds: CodeResult(passed=True))
    with pytest.raises(PadaError, match="a wrong program passed"):
        sandbox_canary()
    monkeypatch.setattr(sandbox, "run_code", lambda program, seconds: CodeResult(passed=False, detail="no luck"))
    with pytest.raises(PadaError, match="did not pass \\(no luck\\)"):
        sandbox_canary()


def test_a_sandbox_that_cannot_start_is_an_error_not_a_wrong_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "_CHILD", tmp_path / "missing.py")
    with pytest.raises(PadaError, match="could not run a program"):
        run_code("x = 1", 5)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(PadaError, match="could not be started"):
        run_code("x = 1", 5)
