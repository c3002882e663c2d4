"""Clients that are slow, silent or many, over real sockets. None holds a connection for ever, and a
client that waits for events may go on waiting."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web

from service.api import connections as module
from service.api.connections import Connections, Limits
from service.platform.settings import Settings, load_settings
from service.server.serve import listen, make_runner
from tests.support.api.caller import SignUp, Token
from tests.support.database import Connection

PATIENCE = 30
# So large that no test reaches them, unless it sets its own.
LIMITS = Limits(head_seconds=60, answer_seconds=60, connections=1000, connections_per_peer=1000)
LOGIN = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n"
HEALTH = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
Serving = Callable[..., Awaitable[int]]


@dataclass
class Socket:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """All bytes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[Socket]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Socket(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture
async def serving(settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serving]:
    """`await serving(head_seconds=0.2)` is the port of an API with these limits. `JOSSIEDB_…` are
    settings."""
    runners: list[tuple[web.AppRunner, asyncio.Server]] = []

    async def serve(**wanted: object) -> int:
        environment = {name: str(value) for name, value in wanted.items() if name.isupper()}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        limits = replace(LIMITS, **{name: value for name, value in wanted.items() if not name.isupper()})  # type: ignore[arg-type]  # what a test names
        runner = make_runner(load_settings(), database_url)
        await runner.setup()
        server = await listen(runner, Connections(limits), "127.0.0.1", 0)
        runners.append((runner, server))
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield serve
    for runner, server in runners:
        server.close()
        await runner.cleanup()


async def test_a_client_that_sends_nothing_is_disconnected(serving: Serving) -> None:
    port = await serving(head_seconds=0.2)
    async with _connected(port) as silent:
        assert await silent.rest() == b""


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(serving: Serving) -> None:
    port = await serving(head_seconds=0.3)
    async with _connected(port) as slow:

        async def drip() -> None:
            for byte in b"GET /api/v1/health HTTP/1.1\r\n" + b"X-Slow: x\r\n" * 10_000:
                slow.writer.write(bytes([byte]))
                await slow.writer.drain()
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await slow.rest() == b""
        dripping.cancel()
        await asyncio.wait([dripping])


async def test_many_silent_clients_are_all_disconnected_and_others_answered_meanwhile(serving: Serving) -> None:
    port = await serving(head_seconds=1)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
    async with _connected(port) as client:
        client.writer.write(HEALTH)
        assert (await client.head()).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(reader.read() for reader, _ in silent), return_exceptions=True)
    for _, writer in silent:
        writer.transport.abort()


async def test_the_head_of_a_later_request_has_its_deadline_too(serving: Serving) -> None:
    port = await serving(head_seconds=0.5)
    async with _connected(port) as client:
        client.writer.write(HEALTH)
        assert (await client.head()).startswith(b"HTTP/1.1 200")
        client.writer.write(HEALTH[:-2])
        assert b"HTTP/1.1" not in await client.rest()


async def test_a_body_that_does_not_come_is_answered_408_and_the_connection_closed(serving: Serving) -> None:
    port = await serving(JOSSIEDB_BODY_TIMEOUT=1000)
    async with _connected(port) as client:
        client.writer.write(LOGIN + b'{"username": ')
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 408")
        assert b"Connection: close" in head
        assert b"/problems/request-timeout" in await client.rest()


async def test_an_idle_connection_is_kept_for_a_while_and_then_closed(serving: Serving) -> None:
    port = await serving(JOSSIEDB_KEEPALIVE_TIMEOUT=1000)
    async with _connected(port) as client:
        client.writer.write(HEALTH)
        assert (await client.head()).startswith(b"HTTP/1.1 200")
        assert await client.rest() == b'{"status":"ok"}'


async def _webhook(connection: Connection, owner: Token) -> str:
    return str(
        await connection.fetchval(
            "insert into webhooks (owner_id, url, events, secret_sealed, max_retries, retry_delay_ms, timeout_ms)"
            " values ($1, 'http://127.0.0.1:9/', '{item-created}', '', 3, 5000, 30000) returning id",
            owner.user_id,
        )
    )


async def test_a_long_poll_outlives_every_deadline(serving: Serving, sign_up: SignUp, connection: Connection) -> None:
    owner = await sign_up("admin")
    webhook_id = await _webhook(connection, owner)
    port = await serving(
        head_seconds=0.2, answer_seconds=0.2, JOSSIEDB_BODY_TIMEOUT=1000, JOSSIEDB_KEEPALIVE_TIMEOUT=1000
    )
    await connection.execute(
        "update webhooks set secret_sealed = $1", load_settings().vault().seal(b"whsec_x", UUID(webhook_id).bytes)
    )
    async with _connected(port) as poll:
        request = f"GET /api/v1/webhooks/{webhook_id}/stream?wait=2 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {owner}\r\n\r\n"
        poll.writer.write(request.encode())
        assert (await poll.head()).startswith(b"HTTP/1.1 200")


async def test_a_client_that_does_not_read_its_answer_is_disconnected(
    serving: Serving, sign_up: SignUp, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_RATE", 2**40)
    admin = await sign_up("admin")
    await connection.execute(
        "insert into items (name, description) select 'n', repeat('x', 8000) from generate_series(1, 200)"
    )
    port = await serving(answer_seconds=0.3)
    async with _connected(port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket
        get = f"GET /api/v1/items?limit=200 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n\r\n"
        client.writer.write(get.encode() * 8)
        # The server has closed the connection, while the client still has most of the answers to
        # read.
        async with asyncio.timeout(PATIENCE):
            while await _connections_of(port):
                await asyncio.sleep(0.05)


async def _connections_of(port: int) -> int:
    """The number of connections of the server on this port, as the kernel reports it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if int(row[1].rpartition(":")[2], 16) == port and row[3] == "01")


async def test_one_connection_more_than_the_cap_is_told_503(serving: Serving) -> None:
    port = await serving(connections=3)
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    async with _connected(port) as refused:
        answer = await refused.rest()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After" in answer
    held[0][1].transport.abort()
    async with asyncio.timeout(PATIENCE):
        while True:
            async with _connected(port) as client:
                client.writer.write(HEALTH)
                if (await client.head()).startswith(b"HTTP/1.1 200"):
                    break
    for _, writer in held:
        writer.transport.abort()


async def test_a_peer_has_a_cap_of_its_own_and_a_trusted_proxy_has_none(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 127.0.0.1 is counted once another network is set as the proxies'.
    port = await serving(connections_per_peer=2, trusted=[ip_network("192.0.2.0/24")])
    behind = await serving(connections_per_peer=2, trusted=[ip_network("127.0.0.0/8")])
    unset = await serving(connections_per_peer=2)
    for where, counted in ((port, True), (behind, False), (unset, False)):
        held = [await asyncio.open_connection("127.0.0.1", where) for _ in range(2)]
        async with _connected(where) as client:
            client.writer.write(HEALTH)
            assert (await client.head()).startswith(b"HTTP/1.1 503" if counted else b"HTTP/1.1 200")
        for _, writer in held:
            writer.transport.abort()
