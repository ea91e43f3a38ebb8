"""Walls that a process without any rights builds around itself, for good: no sockets, no other process, no files but those named.

Beside namespaces, or alone where the kernel gives none, as in containers. Files need Landlock and Linux 5.13, signals 6.12;
what a kernel does not have is left out. For x86-64 and aarch64. Only child.py imports it, by path.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

# An architecture's mark, and its numbers of system calls: socket, ptrace, process_vm_readv, process_vm_writev, pidfd_getfd,
# io_uring_setup (it opens sockets too).
MACHINES = {
    "x86_64": (0xC000003E, (41, 101, 310, 311, 438, 425)),
    "aarch64": (0xC00000B7, (198, 117, 270, 271, 438, 425)),
}
X32 = 0x40000000  # x86-64's second table of system calls begins here
LOAD, IS, AT_LEAST, ANSWER = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM  # linux/seccomp.h
NUMBER_AT, ARCHITECTURE_AT = 0, 4  # in struct seccomp_data
SET_SECCOMP, FILTER = 22, 2  # linux/prctl.h

CREATE_RULESET, ADD_RULE, RESTRICT_SELF, BENEATH = 444, 445, 446, 1  # the same on all machines
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL = 1, 2, 4, 8, 1 << 14, 1 << 15  # linux/landlock.h
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many there are, by version; later: 16
TCP, SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals

libc = ctypes.CDLL(None, use_errno=True)


def close_network() -> bool:
    """No more sockets, and no reading of other processes, for this process and all it starts. Whether that could be done."""
    machine = MACHINES.get(os.uname().machine)
    if not machine:
        return False
    architecture, refused = machine
    n = len(refused)
    # An instruction: code, how many to jump over if it holds, how many if not, what it compares with. The last one refuses.
    program = [(LOAD, 0, 0, ARCHITECTURE_AT), (IS, 0, n + 3, architecture)]
    program += [(LOAD, 0, 0, NUMBER_AT), (AT_LEAST, n + 1, 0, X32)]
    program += [(IS, n - i, 0, number) for i, number in enumerate(refused)]
    program += [(ANSWER, 0, 0, ALLOW), (ANSWER, 0, 0, REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    return bool(libc.prctl(SET_SECCOMP, FILTER, head, 0, 0) == 0)


def close_files(readable: Iterable[str], writable: Iterable[str], devices: Iterable[str]) -> bool:
    """No more files but those below `readable` and `writable`, and `devices`, for this process and all it starts.

    Returns whether that could be done: not before Linux 5.13, nor where Landlock is switched off.
    """
    version = libc.syscall(CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    every = (1 << FILE_RIGHTS.get(version, 16)) - 1
    fields = struct.pack("=QQQ", every, TCP, SCOPES)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = libc.syscall(CREATE_RULESET, fields, len(fields), 0)
    if ruleset < 0:
        return False
    read = EXECUTE | READ_FILE | READ_DIR
    rights = [*((p, read) for p in readable), *((p, every) for p in writable)]
    rights += [(p, (READ_FILE | WRITE_FILE | TRUNCATE | IOCTL) & every) for p in devices]
    for path, allowed in rights:
        _allow(ruleset, path, allowed)
    done = libc.syscall(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return bool(done)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, so nobody needs it
    try:
        libc.syscall(ADD_RULE, ruleset, BENEATH, struct.pack("=Qi", allowed, place), 0)
    finally:
        os.close(place)
