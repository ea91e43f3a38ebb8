"""A bucket mounted as gcsfuse mounts it, over any server that speaks Google's JSON API: a FUSE file system of its own process.

    with mounted(endpoint, folder, uid=0, gid=0, file_mode=0o644, folder_mode=0o755, implicit=True):
        (folder / "bucket" / "run" / "a.json").read_text()

What it does as gcsfuse was seen to do: owner and modes are the mount's, and nobody else may change them (the kernel checks); what
is written is there when the file is closed; renaming a folder that holds something is EMFILE, a hard link EPERM; a folder is an
object `name/`, or what a longer name implies if the mount is `implicit`. It leaves out caches, and all that stages do not do.
"""

import errno
import http.client
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit


@contextmanager
def mounted(
    endpoint: str,
    folder: Path,
    uid: int = 0,
    gid: int = 0,
    file_mode: int = 0o644,
    folder_mode: int = 0o755,
    implicit: bool = True,
) -> Iterator[None]:
    """All buckets of the server at `endpoint`, below `folder`, while the block runs."""
    options = {"uid": uid, "gid": gid, "file_mode": file_mode, "folder_mode": folder_mode, "implicit": implicit}
    process = subprocess.Popen([sys.executable, __file__, endpoint, str(folder), json.dumps(options)])
    try:
        while not os.path.ismount(folder):
            assert process.poll() is None, "the file system did not start"
            time.sleep(0.02)
        yield
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(folder)], check=True)
        process.wait(20)


class Objects:
    """The server's objects, by bucket and name."""

    def __init__(self, endpoint: str) -> None:
        self._host = urlsplit(endpoint).netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=30)

    def _ask(self, method: str, path: str, body: bytes | None = None, **query: str) -> bytes | None:
        headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
        self._connection.request(method, f"{path}?{urlencode(query)}", body, headers)
        answer = self._connection.getresponse()
        raw = answer.read()
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise OSError(errno.EIO, f"{method} {path}: {answer.status} {raw[:200]!r}")
        return raw

    @staticmethod
    def _of(bucket: str, name: str) -> str:
        return f"/storage/v1/b/{quote(bucket)}/o/{quote(name, safe='')}"

    def bucket(self, bucket: str) -> bool:
        return self._ask("GET", f"/storage/v1/b/{quote(bucket)}") is not None

    def size(self, bucket: str, name: str) -> int | None:
        found = self._ask("GET", self._of(bucket, name))
        return None if found is None else int(json.loads(found)["size"])

    def below(self, bucket: str, prefix: str) -> tuple[list[str], list[str]]:
        """Names of objects and of folders one level below the prefix."""
        found = json.loads(self._ask("GET", f"/storage/v1/b/{quote(bucket)}/o", prefix=prefix, delimiter="/") or b"{}")
        return [item["name"] for item in found.get("items", [])], found.get("prefixes", [])

    def read(self, bucket: str, name: str) -> bytes | None:
        return self._ask("GET", self._of(bucket, name), alt="media")

    def write(self, bucket: str, name: str, data: bytes) -> None:
        self._ask("POST", f"/upload/storage/v1/b/{quote(bucket)}/o", data, uploadType="media", name=name)

    def remove(self, bucket: str, name: str) -> None:
        self._ask("DELETE", self._of(bucket, name))


class Handle:
    """An open file: its content, and whether it must be uploaded."""

    def __init__(self, data: bytes, changed: bool) -> None:
        self.data, self.changed = bytearray(data), changed


def operations(objects: Objects, options: dict[str, Any]) -> Any:
    """The file system."""
    from mfusepy import FuseOSError, Operations

    class Bucket(Operations):
        use_ns = True

        def __init__(self) -> None:
            self._handles: dict[int, Handle] = {}
            self._new: dict[str, int] = {}  # files that are being written for the first time
            self._next = 1

        def _attributes(self, kind: int, size: int = 0) -> dict[str, Any]:
            mode = kind | (options["folder_mode"] if kind == stat.S_IFDIR else options["file_mode"])
            return {"st_mode": mode, "st_uid": options["uid"], "st_gid": options["gid"], "st_size": size, "st_nlink": 1}

        def _is_folder(self, path: str) -> bool:
            bucket, name = _parts(path)
            if not name:
                return not bucket or objects.bucket(bucket)
            if objects.size(bucket, f"{name}/") is not None:
                return True
            return bool(options["implicit"] and any(objects.below(bucket, f"{name}/")))

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            if path in self._new:
                return self._attributes(stat.S_IFREG, len(self._handles[self._new[path]].data))
            bucket, name = _parts(path)
            if name and (size := objects.size(bucket, name)) is not None:
                return self._attributes(stat.S_IFREG, size)
            if self._is_folder(path):
                return self._attributes(stat.S_IFDIR)
            raise FuseOSError(errno.ENOENT)

        def readdir(self, path: str, fh: int) -> list[str]:
            bucket, name = _parts(path)
            prefix = f"{name}/" if name else ""
            files, folders = objects.below(bucket, prefix)
            seen = [one for one in folders if options["implicit"] or objects.size(bucket, one) is not None]
            return [".", "..", *(one[len(prefix) :].rstrip("/") for one in files + seen if one != prefix)]

        def mkdir(self, path: str, mode: int) -> int:
            bucket, name = _parts(path)
            objects.write(bucket, f"{name}/", b"")
            return 0

        def rmdir(self, path: str) -> int:
            bucket, name = _parts(path)
            files, folders = objects.below(bucket, f"{name}/")
            if folders or [one for one in files if one != f"{name}/"]:
                raise FuseOSError(errno.ENOTEMPTY)
            objects.remove(bucket, f"{name}/")
            return 0

        def _open(self, path: str, handle: Handle) -> int:
            number, self._next = self._next, self._next + 1
            self._handles[number] = handle
            return number

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            self._new[path] = self._open(path, Handle(b"", changed=True))
            return self._new[path]

        def open(self, path: str, flags: int) -> int:
            data = b"" if flags & os.O_TRUNC else objects.read(*_parts(path))
            if data is None:
                raise FuseOSError(errno.ENOENT)
            return self._open(path, Handle(data, changed=bool(flags & os.O_TRUNC)))

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return bytes(self._handles[fh].data[offset : offset + size])

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            handle = self._handles[fh]
            handle.data.extend(bytes(max(0, offset - len(handle.data))))
            handle.data[offset : offset + len(data)] = data
            handle.changed = True
            return len(data)

        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            handle = self._handles[fh] if fh is not None else Handle(objects.read(*_parts(path)) or b"", changed=True)
            handle.data = handle.data[:length].ljust(length, b"\0")
            handle.changed = True
            if fh is None:
                objects.write(*_parts(path), bytes(handle.data))
            return 0

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            return 0  # makes nothing durable

        def flush(self, path: str, fh: int) -> int:
            handle = self._handles[fh]
            if handle.changed:
                objects.write(*_parts(path), bytes(handle.data))
                handle.changed = False
                self._new.pop(path, None)
            return 0

        def release(self, path: str, fh: int) -> int:
            del self._handles[fh]
            return 0

        def unlink(self, path: str) -> int:
            objects.remove(*_parts(path))
            return 0

        def rename(self, old: str, new: str) -> int:
            (bucket, name), target = _parts(old), _parts(new)
            if (data := objects.read(bucket, name)) is not None:
                objects.write(*target, data)
                objects.remove(bucket, name)
                return 0
            files, folders = objects.below(bucket, f"{name}/")
            if folders or [one for one in files if one != f"{name}/"]:
                raise FuseOSError(errno.EMFILE)
            self.mkdir(new, 0)
            objects.remove(bucket, f"{name}/")
            return 0

        def link(self, target: str, source: str) -> int:
            raise FuseOSError(errno.EPERM)

        def chmod(self, path: str, mode: int) -> int:
            return 0  # of the owner, whom the kernel lets through: without effect

        chown = utimens = chmod

        def statfs(self, path: str) -> dict[str, int]:
            return {"f_bsize": 2**20, "f_frsize": 2**20, "f_blocks": 2**30, "f_bavail": 2**30, "f_bfree": 2**30}

    return Bucket()


def _parts(path: str) -> tuple[str, str]:
    bucket, _, name = path.strip("/").partition("/")
    return bucket, name


if __name__ == "__main__":
    from mfusepy import FUSE

    FUSE(
        operations(Objects(sys.argv[1]), json.loads(sys.argv[3])),
        sys.argv[2],
        foreground=True,
        nothreads=True,
        allow_other=True,
        default_permissions=True,
        fsname="gcsfuse",
        subtype="gcsfuse",
        attr_timeout=0,
        entry_timeout=0,
    )
