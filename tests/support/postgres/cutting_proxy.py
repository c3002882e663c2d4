"""A proxy that cuts connections to PostgreSQL on the client's side only.

The server goes on with its statements and does not notice.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit


class CuttingProxy:
    def __init__(self, path: str, database: str) -> None:
        self._path = path
        self._database = database
        self._refusing = False
        self._listening: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._left: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{self._database}?sslmode=disable"

    def cut_listeners(self) -> None:
        """Cut LISTEN connections, and refuse new connections until `admit`."""
        self._refusing = True
        for client, server in self._listening:
            self._left.add(server)
            client.transport.abort()

    def admit(self) -> None:
        self._refusing = False

    def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def end(self) -> None:
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        for writer in self._left:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        from_server, to_server = await asyncio.open_unix_connection(self._path)
        hello = await reader.read(65536)
        if b"relay listen" in hello:
            self._listening.append((writer, to_server))
        to_server.write(hello)
        try:
            await asyncio.gather(self._pump(reader, to_server), self._pump(from_server, writer))
        finally:
            for each in (writer, to_server):
                if each not in self._left:
                    each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        if writer not in self._left:
            writer.close()


@asynccontextmanager
async def cutting_proxy(database_url: str) -> AsyncIterator[CuttingProxy]:
    parts = urlsplit(database_url)
    query = parse_qs(parts.query)
    proxy = CuttingProxy(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}", parts.path.removeprefix("/"))
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
