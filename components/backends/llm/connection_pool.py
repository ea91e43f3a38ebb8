"""HTTP to one endpoint over connections that are taken and given back in constant time."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2


def connection_pool() -> "ConnectionPool":
    """A pool over plain HTTP/1.1 connections that stay open."""
    certificates = httpx2.create_ssl_context()
    one = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
    return ConnectionPool(lambda: httpx2.AsyncHTTPTransport(verify=certificates, limits=one))


class ConnectionPool(httpx2.AsyncBaseTransport):
    """A transport of transports with one connection each.

    httpx's own pool looks through all its connections at each request and each reply, and asks the system about each that is
    idle: with 64 of them that is a third of what a call costs here.
    """

    def __init__(self, make: Callable[[], httpx2.AsyncBaseTransport]) -> None:
        self._make = make
        self._all: list[httpx2.AsyncBaseTransport] = []
        self._free: list[httpx2.AsyncBaseTransport] = []  # the one used last is the warmest

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As its base; the connection is free again when the response is closed."""
        if self._free:
            connection = self._free.pop()
        else:
            connection = self._make()
            self._all.append(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self._free.append(connection)
            raise
        response.stream = _Stream(response.stream, lambda: self._free.append(connection))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self._all:
            await connection.aclose()


class _Stream(httpx2.AsyncByteStream):
    """A body that tells when it is closed."""

    def __init__(self, body: Any, closed: Callable[[], None]) -> None:
        self._body, self._closed = body, closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            yield piece

    async def aclose(self) -> None:
        closed, self._closed = self._closed, lambda: None
        try:
            await self._body.aclose()
        finally:
            closed()
