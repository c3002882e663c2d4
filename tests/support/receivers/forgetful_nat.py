"""A NAT before a receiver that forgets its connections.

They stay open and nothing passes. New ones work.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class ForgetfulNat:
    """A TCP proxy on a free port of 127.0.0.1. `opened` counts its connections, and `swallowed` the
    bytes that it dropped."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._remembered: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.opened = 0
        self.swallowed = 0
        self.url = ""

    @property
    def remembered(self) -> int:
        return len(self._remembered)

    def forget(self) -> None:
        """From now on nothing passes over the present connections, in either direction."""
        for forgotten in self._remembered:
            forgotten.set()
        self._remembered.clear()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        forgotten = asyncio.Event()
        self._remembered.add(forgotten)
        writers = [writer]
        try:
            from_receiver, to_receiver = await asyncio.open_connection(*self._upstream)
            writers.append(to_receiver)
            answers = asyncio.create_task(self._pump(from_receiver, writer, forgotten))
            try:
                await self._pump(reader, to_receiver, forgotten)
            finally:
                answers.cancel()
                await asyncio.gather(answers, return_exceptions=True)
        finally:
            self._remembered.discard(forgotten)
            for each in writers:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, forgotten: asyncio.Event) -> None:
        try:
            while data := await reader.read(65536):
                if forgotten.is_set():
                    self.swallowed += len(data)
                    continue
                writer.write(data)
                await writer.drain()
            if not forgotten.is_set():
                writer.write_eof()
        except OSError:
            pass


@asynccontextmanager
async def forgetful_nat(receiver_url: str) -> AsyncIterator[ForgetfulNat]:
    parts = urlsplit(receiver_url)
    assert parts.hostname is not None
    assert parts.port is not None
    nat = ForgetfulNat(parts.hostname, parts.port)
    server = await asyncio.start_server(nat.serve, "127.0.0.1", 0)
    nat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield nat
    finally:
        server.close()
        await nat.end()
