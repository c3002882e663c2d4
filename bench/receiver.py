"""A receiver that is never the bottleneck. `python -m bench.receiver` answers 200 and counts, on
127.0.0.1 to 127.0.0.20. It prints its port.

A POST to /hang/… never gets an answer. A POST to /slow/MS/… gets it after so many milliseconds, and
any other POST at once. GET /_count is the number of requests, and GET /_arrivals has a line for
each event, with its id and monotonic seconds. GET /_reset forgets both.
"""

import asyncio
import re
import signal
import time
from typing import cast

import uvloop

ADDRESSES = 20
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *([0-9a-f-]{36})", re.IGNORECASE)


class Seen:
    """The requests that all connections have received."""

    def __init__(self) -> None:
        self.count = 0
        self.arrivals: dict[bytes, float] = {}

    def answer(self, path: bytes) -> bytes:
        body = b""
        if path == b"/_count":
            body = b"%d" % self.count
        elif path == b"/_arrivals":
            body = b"\n".join(b"%s %.6f" % arrival for arrival in self.arrivals.items())
        elif path == b"/_reset":
            self.count = 0
            self.arrivals = {}
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Receiving(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[: end + 2]
            found = _LENGTH.search(head)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < size:
                return
            self._buffer = self._buffer[size:]
            self._request(head)

    def _request(self, head: bytes) -> None:
        method, path, _ = head.split(b" ", 2)
        if method == b"GET":
            self._write(self._seen.answer(path))
            return
        if path.startswith((b"/hang", b"/slow")):
            # Not counted, because the deliveries beside these are measured.
            if path.startswith(b"/slow"):
                asyncio.get_running_loop().call_later(int(path.split(b"/")[2]) / 1000, self._write, _OK)
            return
        self._seen.count += 1
        if (event := _ID.search(head)) is not None:
            self._seen.arrivals.setdefault(event[1], time.monotonic())
        self._write(_OK)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def main() -> None:
    loop = asyncio.get_running_loop()
    seen = Seen()
    first = await loop.create_server(lambda: Receiving(seen), "127.0.0.1", 0, backlog=1024)
    port = first.sockets[0].getsockname()[1]
    others = [f"127.0.0.{number}" for number in range(2, ADDRESSES + 1)]
    await loop.create_server(lambda: Receiving(seen), others, port, backlog=1024)
    print(port, flush=True)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(main())
