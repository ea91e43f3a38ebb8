"""What is asked again, how often, and what is said."""

import errno
from types import SimpleNamespace

import pytest

from pada_agent.components.backends import patience
from pada_agent.components.backends.patience import passes, patient_rows, patiently, without_patience
from pada_agent.components.core.errors import InputError, PassingError


@pytest.fixture
def clock(monkeypatch):
    """Time that passes in pauses only."""
    now = SimpleNamespace(seconds=0.0, pauses=[])

    def sleep(seconds):
        now.seconds += seconds
        now.pauses.append(seconds)

    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: now.seconds, sleep=sleep))
    monkeypatch.setattr(patience, "SECONDS", 120.0)
    return now


def failing(times, error):
    asked = []

    def ask():
        asked.append(1)
        if len(asked) <= times:
            raise error
        return len(asked)

    return ask, asked


def test_a_fault_that_passes_is_waited_for_and_told_of_once(clock, capsys):
    ask, _ = failing(4, PassingError("s3://b/x: cannot be reached (503)"))
    assert patiently(ask) == 5
    assert clock.pauses == [1, 2, 4, 8]
    assert capsys.readouterr().err == "  s3://b/x: cannot be reached (503); asking again for up to 120 s\n"


def test_a_fault_that_does_not_pass_ends_after_two_minutes(clock):
    ask, asked = failing(1000, PassingError("s3://b/x: cannot be reached (503)"))
    with pytest.raises(InputError, match=r"^s3://b/x: cannot be reached \(503\); asked 12 times in 120 s$") as e:
        patiently(ask)
    assert not isinstance(e.value, PassingError), "who waits for the whole must not begin anew"
    assert len(asked) == 12 and clock.seconds == 120


def test_who_comes_back_later_anyway_is_told_at_once(clock, capsys):
    ask, asked = failing(2, PassingError("s3://b/x: cannot be reached (503)"))
    with without_patience(), pytest.raises(PassingError, match=r"^s3://b/x: cannot be reached \(503\)$"):
        patiently(ask)
    assert (len(asked), clock.pauses, capsys.readouterr().err) == (1, [], "")
    assert patiently(ask) == 3 and clock.pauses == [1]


@pytest.mark.parametrize("error", [InputError("no permission"), ZeroDivisionError()])
def test_what_does_not_pass_ends_at_once(clock, error):
    ask, asked = failing(1, error)
    with pytest.raises(type(error)):
        patiently(ask)
    assert len(asked) == 1 and clock.pauses == []


def test_rows_go_on_behind_those_that_were_given(clock):
    breaks = iter([2, 2, 5, None])

    @patient_rows
    def rows():
        stop = next(breaks)
        for n in range(8):
            if n == stop:
                raise PassingError("broke off")
            yield n

    assert list(rows()) == list(range(8))
    assert clock.pauses == [1, 2, 1], "a row that came through is a new beginning"


def botocore(kind, **more):
    from botocore import exceptions

    return getattr(exceptions, kind)(**more)


def translated(status, code):
    """As s3fs gives what botocore raised."""
    from s3fs.errors import translate_boto_error

    reply = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate_boto_error(botocore("ClientError", error_response=reply, operation_name="GetObject"))


def of_gcsfs(status):
    from gcsfs.retry import HttpError, validate_response

    with pytest.raises(Exception) as e:
        validate_response(status, b'{"error": {"message": "m"}}', "path")
    assert status == 502 or isinstance(e.value, HttpError)
    return e.value


def of_the_hub(status):
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError("m", response=httpx2.Response(status, request=httpx2.Request("GET", "http://hub")))


def caused(error, cause):
    error.__cause__ = cause
    return error


def other(module, kind, *given):
    from importlib import import_module

    return getattr(import_module(module), kind)(*given)


PASSING = {
    "s3 503": lambda: translated(503, "SlowDown"),
    "s3 500": lambda: translated(500, "InternalError"),
    "s3 unknown code": lambda: translated(504, "Strange"),
    "s3 refused": lambda: botocore("EndpointConnectionError", endpoint_url="u"),
    "s3 closed": lambda: botocore("ConnectionClosedError", endpoint_url="u"),
    "s3 slow": lambda: botocore("ReadTimeoutError", endpoint_url="u"),
    "gs 429": lambda: of_gcsfs(429),
    "gs 502": lambda: of_gcsfs(502),
    "gs 503": lambda: of_gcsfs(503),
    "gs broken": lambda: other("aiohttp", "ClientPayloadError", "m"),
    "gs slow": lambda: other("asyncio", "TimeoutError"),
    "gs no token yet": lambda: other("google.auth.exceptions", "TransportError", "the metadata server is not there"),
    "fsspec slow": lambda: other("fsspec.exceptions", "FSTimeoutError"),
    "hub 503": lambda: of_the_hub(503),
    "hub refused": lambda: other("httpx2", "ConnectError", "m"),
    "hub not cached": lambda: caused(FileNotFoundError("not on the disk"), other("httpx2", "ReadTimeout", "m")),
    "reset": lambda: ConnectionResetError(errno.ECONNRESET, "reset"),
}
LASTING = {
    "s3 403": lambda: translated(403, "AccessDenied"),
    "s3 404": lambda: translated(404, "NoSuchBucket"),
    "s3 409": lambda: translated(409, "OperationAborted"),
    "s3 no keys": lambda: botocore("NoCredentialsError"),
    "gs 401": lambda: of_gcsfs(401),
    "gs token refused": lambda: other("google.auth.exceptions", "RefreshError", "invalid_grant"),
    "gs 400": lambda: of_gcsfs(400),
    "hub 404": lambda: of_the_hub(404),
    "hub offline by setting": lambda: other("huggingface_hub.errors", "OfflineModeIsEnabled", "m"),
    "disk": lambda: OSError(errno.ENOSPC, "no space"),
    "value": lambda: ValueError("x"),
}


@pytest.mark.parametrize("name", [*PASSING, *LASTING])
def test_which_faults_pass(name):
    assert passes({**PASSING, **LASTING}[name]()) == (name in PASSING)
