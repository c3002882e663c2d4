"""A connection without a network, for events that a socket does not produce at a given moment."""

import asyncio
from typing import Any

from relay.transport import Exchange
from relay.transport.connection import Connection, Post


class Wire(asyncio.Transport):
    """Keeps the written bytes, and knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: Any) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


class Keeper:
    def __init__(self) -> None:
        self.kept = 0

    def opened(self, connection: Connection) -> None:
        pass

    def give(self, connection: Connection) -> None:
        self.kept += 1

    def lost(self, connection: Connection) -> None:
        pass


class Waited(Post):
    """A request whose end the test can wait for."""

    __slots__ = ("_end",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(b"", Exchange(), 0.0, loop.time() + 3600)
        self._end: asyncio.Future[int] = loop.create_future()

    def ended(self, how: int) -> None:
        self._end.set_result(how)

    async def end(self) -> int:
        async with asyncio.timeout(5):
            return await self._end
