"""Object stores, started once and thrown away, and small stages to run with them."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from fake_stages import two_iterations
from stores import Cut, Store, fake_gcs, gs_store, prepared, seaweed

from pada_agent.components.backends.store.events import events_below
from pada_agent.components.core.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a run over two iterations."""
    return two_iterations(tmp_path)


@pytest.fixture(scope="session")
def gs_server() -> Iterator[Store]:
    with gs_store() as found:
        yield found


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Store]:
    with seaweed() as endpoint:
        keys = {"AWS_ACCESS_KEY_ID": "runner", "AWS_SECRET_ACCESS_KEY": "secret"}
        yield prepared(Store("s3", {"AWS_ENDPOINT_URL": endpoint, **keys}))


@pytest.fixture(params=["gs", "s3"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty place in each of the two stores, which this process may write."""
    server = request.getfixturevalue(f"{request.param}_server")
    with server.elsewhere().used() as found:
        yield found


@pytest.fixture(params=["gs", "s3", "minio"])
def uri(request: pytest.FixtureRequest) -> Iterator[str]:
    """A URI of an empty place in each store, which is s3:// and minio:// for SeaweedFS."""
    server = request.getfixturevalue("gs_server" if request.param == "gs" else "s3_server")
    with server.elsewhere().used() as found:
        yield f"{request.param}://{found.uri.partition('://')[2]}"


@pytest.fixture(params=["folder", "gs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty folder here, and one in each of the two stores, which this process may write."""
    if request.param == "folder":
        yield str(tmp_path / "work")
        return
    with request.getfixturevalue(f"{request.param}_server").elsewhere().used() as found:
        yield found.uri


@pytest.fixture
def events_uri(place: str) -> str:
    return events_below(place)


@pytest.fixture
def s3(s3_server: Store) -> Iterator[Store]:
    with s3_server.elsewhere().used() as found:
        yield found


@pytest.fixture
def cut(store: Store) -> Iterator[Any]:
    """`with cut(limit, upwards) as proxy`: the store by way of a connection that breaks."""

    @contextmanager
    def begin(limit: int, upwards: bool, for_good: bool = False) -> Iterator[Cut]:
        proxy = Cut("", limit, upwards, for_good)
        with fake_gcs(proxy.endpoint) if store.scheme == "gs" else nullcontext(store.endpoint) as endpoint:
            proxy.lead_to(endpoint)
            target = Store(store.scheme, {**store.environment}, folder=store.folder)
            if store.scheme == "gs":  # it tells its own address for uploads, so this one is a server of its own
                prepared(target.at(endpoint))
            with target.at(proxy.endpoint).used():
                yield proxy
        proxy.close()

    yield begin
