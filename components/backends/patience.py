"""Asks again where a fault may be over in a moment: a store or a hub that answers 503, refuses or breaks a connection.

Kubeflow does not start a container again that ended by itself, so the stage waits. What will not pass (no rights, nothing there)
ends at once.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import islice
from typing import ParamSpec, TypeVar

from pada_agent.components.backends.progress import notice
from pada_agent.components.core.errors import InputError, PassingError

SECONDS = 120.0  # from the first fault on
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)  # the last one again and again
STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# Faults of the network, by library and class: what a store's or the hub's client lets through.
FAULTS = frozenset(
    {
        ("aiohttp", "ClientError"),
        ("botocore", "ConnectionError"),
        ("botocore", "HTTPClientError"),
        ("google", "TransportError"),
        ("httpx", "TransportError"),
        ("httpx2", "TransportError"),
        ("requests", "ConnectionError"),
        ("requests", "Timeout"),
        ("requests", "ChunkedEncodingError"),
        ("builtins", "ConnectionError"),
        ("builtins", "TimeoutError"),
    }
)
LASTING = frozenset({("huggingface_hub", "OfflineModeIsEnabled")})  # a ConnectionError, and a setting
P = ParamSpec("P")
T = TypeVar("T")
_waits = ContextVar("waits", default=True)


@contextmanager
def without_patience() -> Iterator[None]:
    """While the block runs, a fault is a PassingError at once: for who comes back later anyway."""
    before = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(before)


def passes(error: BaseException) -> bool:
    """Whether the same request may do well in a moment: by the server's status if there is one, else by the kind of fault."""
    seen: BaseException | None = error
    while seen is not None:
        if status := _status(seen):
            return status in STATUSES
        kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(seen).__mro__}
        if kinds & FAULTS:
            return not kinds & LASTING
        seen = seen.__cause__
    return False


def patiently(ask: Callable[[], T]) -> T:
    """What `ask` returns, asked again after each PassingError for SECONDS; then an InputError."""
    return next(_again(lambda: iter((ask(),))))


def patient(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, called again as `patiently` does."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return patiently(lambda: function(*args, **kwargs))

    return call


def patient_rows(function: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """The same for a generator: it is begun anew and goes on behind what it gave already."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return _again(lambda: function(*args, **kwargs))

    return call


def _again(begin: Callable[[], Iterator[T]]) -> Iterator[T]:
    given = faults = 0
    first = 0.0
    while True:
        try:
            for item in islice(begin(), given, None):
                given, faults = given + 1, 0
                yield item
            return
        except PassingError as e:
            if not _waits.get():
                raise
            faults += 1
            if faults == 1:
                first = time.monotonic()
                notice(f"{e}; asking again for up to {SECONDS:.0f} s")
            pause = PAUSES[min(faults, len(PAUSES)) - 1]
            if time.monotonic() + pause > first + SECONDS:
                raise InputError(f"{e}; asked {faults} times in {time.monotonic() - first:.0f} s") from e
        time.sleep(pause)


def _status(error: BaseException) -> int:
    """The HTTP status of an error of gcsfs (`code`), botocore or the hub (`response`); 0 if it has none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        response = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for status in (
        response,
        getattr(response, "status_code", None),
        getattr(error, "code", None),
        getattr(error, "status", None),
    ):
        if isinstance(status, int | str) and str(status).isdigit() and int(status) >= 400:
            return int(status)
    return 0
