"""A proxy that counts the round trips of a program with PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

# After these messages a client waits for the server: Query, and Sync.
_WAITS = b"QS"


class CountingProxy:
    def __init__(self, path: str, database: str) -> None:
        self._path = path
        self._database = database
        self._carrying: set[asyncio.Task[None]] = set()
        self.round_trips = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{self._database}?sslmode=disable"

    def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def end(self) -> None:
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._path)
        try:
            await asyncio.gather(self._pump(from_server, writer), self._count(reader, to_server))
        finally:
            writer.transport.abort()
            to_server.transport.abort()

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes whole messages on. The first has no type."""
        kind = b""
        try:
            while True:
                head = await reader.readexactly(4)
                self.round_trips += kind in _WAITS if kind else 0
                writer.write(kind + head + await reader.readexactly(int.from_bytes(head) - 4))
                kind = await reader.readexactly(1)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        writer.close()


@asynccontextmanager
async def counting_proxy(database_url: str) -> AsyncIterator[CountingProxy]:
    parts = urlsplit(database_url)
    query = parse_qs(parts.query)
    proxy = CountingProxy(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}", parts.path.removeprefix("/"))
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
