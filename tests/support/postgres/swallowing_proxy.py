"""A proxy before PostgreSQL that makes connections half-open.

They stay open, and nothing passes in either direction. It can also lead to another server.
"""

import asyncio
from contextlib import suppress
from typing import Self

LISTEN = b"jossiedb relay listen\x00"
# The server's message after it has accepted a client.
READY = b"Z\x00\x00\x00\x05I"


class SwallowingProxy:
    """On a free port of 127.0.0.1, before the server's `socket`, which may be changed to another
    server's. A LISTEN connection is known by its application_name."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self._listening: list[asyncio.Event] = []
        self._others: list[asyncio.Event] = []
        self._let_in_only = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/jossiedb?sslmode=disable"

    def swallow_listeners(self) -> None:
        """From now on nothing passes over the present LISTEN connections. New ones work."""
        for swallowing in self._listening:
            swallowing.set()
        self._listening.clear()

    def swallow_all(self) -> None:
        """From now on nothing passes over any present connection."""
        self.swallow_listeners()
        for swallowing in self._others:
            swallowing.set()
        self._others.clear()

    def swallow_the_next(self) -> None:
        """Nothing passes over the next connection once the server has accepted it."""
        self._let_in_only = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        swallowing = asyncio.Event()
        writers = [writer]
        try:
            upstream_reader, upstream_writer = await asyncio.open_unix_connection(self.socket)
            writers.append(upstream_writer)
            introduction = await reader.read(65536)
            (self._listening if LISTEN in introduction else self._others).append(swallowing)
            upstream_writer.write(introduction)
            until = READY if self._let_in_only else None
            self._let_in_only = False
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, upstream_writer, swallowing))
                group.create_task(_pump(upstream_reader, writer, swallowing, until))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for each in writers:
                each.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallowing: asyncio.Event, until: bytes | None = None
) -> None:
    while data := await reader.read(65536):
        if swallowing.is_set():
            continue
        if until is not None and until in data:
            swallowing.set()
        writer.write(data)
        await writer.drain()
    if swallowing.is_set():
        # Neither side learns that the other has ended.
        await asyncio.Event().wait()
    with suppress(OSError):
        writer.write_eof()
