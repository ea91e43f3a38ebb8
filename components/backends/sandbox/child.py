"""The sandbox's inner side: a supervisor that runs one program in a worker below it. Started by path, never imported.

stdin:  {"program": "assert 1 + 1 == 2", "seconds": 3.0, "token": "5f0c...", "namespaces": true}
stdout: {"sentinel": "5f0c...", "detail": ""}

The sentinel is the request's token, given back only by a worker whose program came to its end. Linux; elsewhere what the
system does not know is left out.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import stat
import sys
import time
import traceback
import types

sys.path.insert(0, os.path.dirname(__file__))
import fence  # started with -I, where a program's own folder is not searched

del sys.path[0], sys.modules["fence"]

MEMORY, FILE_SIZE, OPEN_FILES, PROCESSES = 2 << 30, 16 << 20, 64, 32
DISK = "size=64m,mode=1777"
FIRST_UID, SMALL_UID = 1 << 20, 60000  # a user for each program: those that run at once cannot signal or starve others
COVERED = ("/root", "/home", "/run", "/var/run", "/tmp", "/var/tmp", "/dev/shm")
LIBRARY = os.path.dirname(os.__file__)
READABLE = (LIBRARY, sys.base_prefix, "/usr", "/bin", "/lib", "/lib64", "/proc/self")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

NEW_USER, NEW_MOUNT, NEW_IPC, NEW_PID, NEW_NET = 0x10000000, 0x00020000, 0x08000000, 0x20000000, 0x40000000  # sched.h
APART = NEW_MOUNT | NEW_IPC | NEW_PID | NEW_NET
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 1 << 12, 1 << 14, 1 << 18  # sys/mount.h
PARENT_DEATH, DUMPABLE, KEEP_CAPABILITIES, SUBREAPER, NO_NEW_RIGHTS = 1, 4, 8, 36, 38  # sys/prctl.h
OVERRIDE_MODES, READ_ALL = 1, 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, linux/capability.h

libc = ctypes.CDLL(None, use_errno=True)
LINUX = sys.platform == "linux"


def call(name: str, *arguments: object) -> None:
    """A system call of the C library. Raises OSError."""
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def attempt(name: str, *arguments: object) -> bool:
    """Whether the system call went well; False too where the system does not have it."""
    try:
        call(name, *arguments)
    except (OSError, AttributeError):
        return False
    return True


def closed_folders(path: str) -> list[str]:
    """Folders on the way to `path` that only their owner may enter."""
    parts = path.split("/")
    above = ["/".join(parts[:n]) or "/" for n in range(1, len(parts) + 1)]
    return [folder for folder in above if not os.stat(folder).st_mode & stat.S_IXOTH]


def cover(work: str, closed: list[str]) -> bool:
    """Lay empty, small file systems over other people's files; Python's library shines through.

    Needs mounts of its own, and the library as working directory: "." stays reachable under whatever is laid over it.
    """
    try:
        call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        for folder in [*closed[:1], *COVERED]:
            if os.path.isdir(folder) and not os.path.islink(folder):
                call("mount", b"tmpfs", folder.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, DISK.encode())
        if not os.path.isdir(LIBRARY):
            os.makedirs(LIBRARY)
            call("mount", b".", LIBRARY.encode(), None, MS_BIND | MS_REC, None)
        os.makedirs(work, exist_ok=True)
    except OSError:
        return False
    return True


def give_up_root(work: str, reader: bool) -> bool:
    """Become a user that nobody else is. A `reader` may still read what root may: Python's own library is in there."""
    for uid in (FIRST_UID + os.getpid(), SMALL_UID + os.getpid() % 5000):  # a container may know small numbers only
        try:
            os.chown(work, uid, uid)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            if reader:
                call("prctl", KEEP_CAPABILITIES, 1, 0, 0, 0)
            os.setresuid(uid, uid, uid)
        except OSError:
            continue
        if reader and not set_capabilities(1 << READ_ALL):
            set_capabilities(1 << OVERRIDE_MODES)
        # else /proc/self would belong to root, and with it the maps of a user namespace
        return attempt("prctl", DUMPABLE, 1, 0, 0, 0)
    return False


def set_capabilities(mask: int) -> bool:
    """Keep these capabilities and no others."""
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(mask, mask)
    return attempt("capset", header, data)


def own_user_namespace() -> bool:
    """Namespaces for a user without rights: inside one of its own it may have the others."""
    uid, gid = os.getuid(), os.getgid()
    if not attempt("unshare", APART | NEW_USER):
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as f:
            f.write(text)
    return True


def isolate(namespaces: bool) -> tuple[bool, bool]:
    """Cut this process and its children off as far as the kernel lets.

    Returns whether it is now a user that nobody else is, and whether it needs a capability to read Python's library.
    """
    work, here, root = os.getcwd(), os.open(".", os.O_RDONLY), os.getuid() == 0
    os.chdir(LIBRARY)
    closed = closed_folders(LIBRARY) if root else []
    apart = namespaces and root and attempt("unshare", APART)
    reader = bool(closed) and not (apart and cover(work, closed))
    alone = root and give_up_root(work, reader)
    if namespaces and not apart and own_user_namespace() and cover(work, closed):
        reader = False
    try:
        os.chdir(work)
    except OSError:  # it is the program's own, but a folder above it is closed
        os.fchdir(here)
    os.close(here)
    return alone, reader


def limit(seconds: float, alone: bool) -> None:
    """Resource limits of one process; of the user for the number of processes."""
    processes = PROCESSES if alone else PROCESSES + tasks_of(os.getuid())
    limits = {
        "RLIMIT_AS": MEMORY,
        "RLIMIT_CPU": int(seconds) + 2,
        "RLIMIT_FSIZE": FILE_SIZE,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_NPROC": processes,
        "RLIMIT_CORE": 0,
    }
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (OSError, ValueError, AttributeError):
            if LINUX:
                raise


def tasks_of(uid: int) -> int:
    """Processes and threads a user has already: the kernel counts them into the limit."""
    count = 0
    for name in os.listdir("/proc") if LINUX else []:
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            pass  # it has ended meanwhile
    return count


def complaint(error: BaseException, program: str) -> str:
    """One line on an exception: what, and at which line of the program."""
    try:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
    except BaseException:  # the program's own __str__ may do anything
        text = type(error).__name__
    lines = [n for frame, n in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == "<program>"]
    source = program.splitlines()
    if lines and 0 < lines[-1] <= len(source):
        text += f" (line {lines[-1]}: {source[lines[-1] - 1].strip()[:200]})"
    return " ".join(text.split())[:500]


def work_off(request: dict[str, str], seconds: float, answer: int, alone: bool, reader: bool) -> None:
    """The worker: run the program and write the token, or a complaint, to the file descriptor `answer`. Never returns."""
    write, leave, whoami, me = os.write, os._exit, os.getpid, os.getpid()
    program, text = request["program"], ""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        os.setsid()
        attempt("prctl", PARENT_DEATH, int(signal.SIGKILL), 0, 0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.closerange(3, answer)
        os.closerange(answer + 1, 4096)
        os.environ.clear()
        limit(seconds, alone)
        attempt("prctl", NO_NEW_RIGHTS, 1, 0, 0, 0)
        if not reader:
            set_capabilities(0)
        if LINUX:
            fence.close_files(READABLE, ["."], DEVICES)
            fence.close_network()
        module = types.ModuleType("program")
        sys.modules["program"] = module
        exec(compile(program, "<program>", "exec"), module.__dict__)
        text = request["token"]
    except BaseException as e:  # SystemExit too: a program that leaves early has not come to its end
        text = "!" + complaint(e, program)
    if whoami() == me:  # a process that the program forked comes by here too
        write(answer, (text + "\n").encode(errors="replace"))
    leave(0)


def watch(worker: int, answer: int, seconds: float) -> tuple[str, str]:
    """Wait for the worker's answer, its end or the time limit: (what it wrote, why it wrote nothing)."""
    deadline, text = time.monotonic() + seconds, b""
    while not text.endswith(b"\n") and len(text) < 65536:
        if time.monotonic() > deadline:
            return "", f"ran longer than {seconds:g} s"
        ended = os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if select.select([answer], [], [], 0 if ended else 0.02)[0]:
            piece = os.read(answer, 4096)
            if piece:
                text += piece
                continue
            time.sleep(0.02)  # the other end is closed: it stays readable
        if ended:
            how = "with exit status" if ended.si_code == os.CLD_EXITED else "by signal"
            return "", f"ended before its last line, {how} {ended.si_status}"
    return text.decode(errors="replace").strip(), ""


def clear_up(worker: int, alone: bool) -> None:
    """Kill the worker's group and whatever it left behind, and reap it."""
    for kill, target in ((os.killpg, worker), (os.kill, worker), (os.kill, -1)):
        try:
            if target > 0 or (alone and target < 0):  # -1 is every process of this user: only where nobody else is this user
                kill(target, signal.SIGKILL)
        except OSError:
            pass  # gone, or not yet a group of its own
    while True:
        for child in children():
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def end_with_parent(_number: int, _frame: object) -> None:
    """Whoever asked for the answer is gone: leave nothing behind."""
    clear_up(0, False)
    os._exit(1)


def children() -> list[int]:
    """Children of this process. Orphans below it become its own: it is their subreaper."""
    processes = []
    for name in os.listdir("/proc") if LINUX else []:
        try:
            with open(f"/proc/{name}/stat") as f:
                if name.isdigit() and int(f.read().rpartition(")")[2].split()[1]) == os.getpid():
                    processes.append(int(name))
        except OSError:
            pass  # no process, or it has ended meanwhile
    return processes


def main() -> None:
    """Serve one request."""
    request = json.loads(sys.stdin.buffer.read())
    seconds = float(request["seconds"])
    alone, reader = isolate(request["namespaces"])
    attempt("prctl", SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, end_with_parent)
    attempt("prctl", PARENT_DEATH, int(signal.SIGTERM), 0, 0, 0)
    answer, worker_end = os.pipe()
    worker = os.fork()
    if worker == 0:
        work_off(request, seconds, worker_end, alone, reader)
    os.close(worker_end)
    text, detail = watch(worker, answer, seconds)
    clear_up(worker, alone)
    if text.startswith("!"):
        text, detail = "", text[1:]
    json.dump({"sentinel": text, "detail": detail}, sys.stdout)


main()
