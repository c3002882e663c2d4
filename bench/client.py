"""A client that costs next to nothing. It sends one request at a time on a kept connection, and
needs a Content-Length in the answer."""

import asyncio
import re
from typing import Self, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Client(asyncio.Protocol):
    """Made by `Client.connect`. Raises ConnectionError when the other side goes away."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def connect(cls, host: str, port: int) -> Self:
        _, client = await asyncio.get_running_loop().create_connection(cls, host, port)
        return client

    async def request(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. `request` is the whole request as it goes over the
        wire."""
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        assert self._waiter is None, "one request at a time"
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    async def get(self, path: str) -> bytes:
        status, body = await self.request(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        if status != 200:
            raise ConnectionError(f"{path}: {status}")
        return body

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        found = _LENGTH.search(self._buffer[: end + 2])
        size = end + 4 + (int(found[1]) if found else 0)
        if len(self._buffer) < size:
            return
        answer, self._buffer = self._buffer[:size], self._buffer[size:]
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result((int(answer[9:12]), answer[end + 4 :]))


def post(path: str, body: bytes, headers: str) -> bytes:
    """A POST as it goes over the wire. `headers` are whole lines, each with its line end."""
    return f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
