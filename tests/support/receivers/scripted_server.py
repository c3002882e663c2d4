"""A server on a raw socket. A script decides each byte, wait and close."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

from relay.transport import Exchange, Transport

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
# In milliseconds, for exchanges that end by an action of the server.
PATIENT_MS = 30_000
# In milliseconds, for exchanges that end by the deadline.
SHORT_MS = 300


@dataclass
class Server:
    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    # The number of connections that the client has closed. Scripts wait for it with `gone`.
    left: int = 0


class Peer:
    """The server's end of a connection."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        server.connections += 1
        self.number = server.connections
        # The address of the server's end, as the client used it.
        self.address: str = writer.get_extra_info("sockname")[0]

    async def request(self) -> bytes:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        request = head + await self._reader.readexactly(length)
        self._server.requests.append(request)
        return request

    async def head(self) -> bytes:
        """The head of a request whose body stays unread."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def gone(self) -> None:
        while await self._reader.read(65536):
            pass
        self._server.left += 1

    def reset(self) -> None:
        """Close with a RST."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serve(script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Runs the script for each connection, and then closes the connection."""
    server = Server()
    running: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(Peer(server, reader, writer))
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The transport closed the connection, which some tests are about. Or the test is over.
            writer.transport.abort()
        finally:
            running.discard(task)

    listening = await asyncio.start_server(handle, host, 0, ssl=tls)
    address, port = listening.sockets[0].getsockname()[:2]
    scheme = "http" if tls is None else "https"
    server.url = f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}/hook"
    try:
        yield server
    finally:
        listening.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def answering(answer: bytes) -> Script:
    """Reads the request, sends this answer and closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    return script


async def hang(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def post(transport: Transport, answer: bytes | Script, timeout_ms: int = PATIENT_MS) -> Exchange:
    async with serve(answering(answer) if isinstance(answer, bytes) else answer) as server:
        return await transport.post(server.url, {"Content-Type": "application/json"}, b"{}", timeout_ms)


def ok(body: bytes = b"", *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]) + b"\r\n\r\n" + body


def then_hang(answer: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.gone()

    return script
