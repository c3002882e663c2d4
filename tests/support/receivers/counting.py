"""A receiver as a process of its own, which notes each request and answers 200.

Start it by `python -m tests.support.receivers.counting <notes> <ms>`. A note is a line: the
monotonic clock (one for the whole machine), the webhook's id, the event's id, the attempt's number.
Its first line is the port.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import cast

import httptools
import uvloop

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class _Counting(asyncio.Protocol):
    def __init__(self, notes: int, delay: float) -> None:
        self._notes = notes
        self._delay = delay
        self._parser = httptools.HttpRequestParser(self)
        self._webhook = ""
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-webhook-id":
            self._webhook = value.decode()

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        envelope = json.loads(self._body)
        # One write to a file opened for appending writes whole lines, also when this process is
        # killed.
        line = f"{time.monotonic():.6f} {self._webhook} {envelope['id']} {envelope['attempt']}\n"
        os.write(self._notes, line.encode())
        asyncio.get_running_loop().call_later(self._delay, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)


async def _serve(path: Path, delay: float) -> None:
    notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    server = await asyncio.get_running_loop().create_server(lambda: _Counting(notes, delay), "127.0.0.1", 0)
    os.write(notes, f"{server.sockets[0].getsockname()[1]}\n".encode())
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), float(sys.argv[2]) / 1000))
