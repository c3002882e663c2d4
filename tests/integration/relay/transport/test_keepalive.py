"""Connections are kept, used again, and closed at the worst moment. None is left behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from relay.transport import HttpTransport
from relay.transport.client import STALE_SECONDS
from relay.transport.pool import ConnectionPool
from tests.support.receivers.scripted_server import LOOPBACK, PATIENT_MS, Peer, Server, hang, ok, serve, then_hang
from tests.support.waiting import until

HOUR_MS = 3_600_000
Make = Callable[[ConnectionPool], Awaitable[HttpTransport]]


@pytest.fixture
async def with_pool() -> AsyncIterator[Make]:
    made: list[HttpTransport] = []

    async def make(pool: ConnectionPool) -> HttpTransport:
        made.append(HttpTransport(LOOPBACK, pool=pool))
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


async def answer_all(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(ok(b"%d" % peer.number))


async def status(transport: HttpTransport, server: Server, timeout_ms: int = PATIENT_MS) -> int | None:
    return (await transport.post(server.url, {}, b"{}", timeout_ms)).status


async def nothing_open(transport: HttpTransport) -> None:
    async def condition() -> bool:
        return not transport.pool.open and not transport.pool.idle

    await until(condition, "every connection is closed")


async def test_a_connection_is_kept_and_used_again(transport: HttpTransport) -> None:
    async with serve(answer_all) as server:
        first = await transport.post(server.url, {}, b"{}", PATIENT_MS)
        second = await transport.post(server.url + "/other", {}, b"{}", PATIENT_MS)
    assert (first.body, second.body) == (b"1", b"1")
    assert first.connect_us is not None
    assert second.connect_us is None
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"x", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        ok(b"x") + b"garbage",
        ok(b"x") + ok(b"y"),
        b"HTTP/1.1 204 No Content\r\n\r\nbody",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ok(b"x" * 100_000),
    ],
)
async def test_a_connection_is_not_used_again_after(transport: HttpTransport, answer: bytes) -> None:
    async with serve(then_hang(answer)) as server:
        for _ in range(2):
            assert await status(transport, server) is not None
        await nothing_open(transport)
    assert server.connections == 2


async def test_http_1_0_may_keep_alive(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx")

    async with serve(script) as server:
        for _ in range(2):
            assert await status(transport, server) == 200
    assert server.connections == 1


async def test_bytes_that_nobody_asked_for_end_a_kept_connection(with_pool: Make) -> None:
    transport = await with_pool(ConnectionPool(idle_seconds=3600))
    speak = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        await speak.wait()
        await peer.send(ok(b"not yours"))
        await peer.gone()

    async with serve(script) as server:
        assert await status(transport, server) == 200
        speak.set()
        await nothing_open(transport)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_kept_connection_that_fails_without_a_byte_is_replaced_by_a_new_one(
    transport: HttpTransport, reset: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"%d" % peer.number))
        # The worst moment: the next request has been read, and the connection closes without an
        # answer.
        await peer.request()
        if reset:
            peer.reset()

    async with serve(script) as server:
        for number in (b"1", b"2", b"3"):
            exchange = await transport.post(server.url, {}, b"{}", PATIENT_MS)
            assert (exchange.status, exchange.body, exchange.error) == (200, number, None)
    assert server.connections == 3


async def test_all_kept_connections_may_be_stale_and_still_only_one_is_tried(transport: HttpTransport) -> None:
    together = asyncio.Barrier(3)

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number <= 3:
            await together.wait()
        await peer.send(ok(b"%d" % peer.number))
        await peer.request()

    async with serve(script) as server:
        assert await asyncio.gather(*(status(transport, server) for _ in range(3))) == [200] * 3
        assert transport.pool.idle == 3
        assert (await transport.post(server.url, {}, b"{}", PATIENT_MS)).body == b"4"
    assert len(server.requests) == 5


async def test_a_new_connection_that_fails_without_a_byte_is_not_tried_again(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with serve(script) as server:
        assert await status(transport, server) is None
    assert server.connections == 1


async def test_a_kept_connection_that_fails_within_the_answer_is_an_attempt(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        await peer.request()
        await peer.send(b"H")

    async with serve(script) as server:
        assert await status(transport, server) == 200
        exchange = await transport.post(server.url, {}, b"{}", PATIENT_MS)
    assert (exchange.status, exchange.error) == (None, "the answer broke off")
    assert server.connections == 1


async def test_the_second_try_of_a_stale_connection_keeps_to_the_deadline(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(ok())
            await peer.request()
        else:
            await peer.gone()

    async with serve(script) as server:
        assert await status(transport, server) == 200
        exchange = await transport.post(server.url, {}, b"{}", 300)
    assert (exchange.status, exchange.error) == (None, "no complete answer within 300 ms")


@pytest.mark.parametrize("before_ms", [100, HOUR_MS])
async def test_each_exchange_of_a_connection_has_the_deadline_of_its_own(
    transport: HttpTransport, before_ms: int
) -> None:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if b"?hang" in request:
                await peer.gone()
            if b"?slow" in request:
                # Longer than the deadline of the first request.
                await asyncio.sleep(0.3)
            await peer.send(ok())

    async def ask(how: str, timeout_ms: int) -> int | None:
        return (await transport.post(server.url + how, {}, b"{}", timeout_ms)).status

    async with serve(script) as server, asyncio.timeout(60):
        # On a busy machine the first request may miss its deadline. Then the others get a new
        # connection, and the test passes.
        await ask("", before_ms)
        assert await ask("?slow", HOUR_MS) == 200
        assert await ask("?hang", 300) is None


async def test_a_connection_that_is_closed_while_idle_is_forgotten(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())

    async with serve(script) as server:
        assert await status(transport, server) == 200
        await nothing_open(transport)
        assert await status(transport, server) == 200
    assert len(server.requests) == 2


async def test_what_idles_too_long_is_closed(with_pool: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        await peer.gone()

    transport = await with_pool(ConnectionPool(idle_seconds=0.2))
    async with serve(script) as server:
        await asyncio.gather(*(status(transport, server) for _ in range(5)))
        await nothing_open(transport)


async def test_a_connection_that_is_too_old_is_not_kept(with_pool: Make) -> None:
    transport = await with_pool(ConnectionPool(max_age_seconds=0))
    async with serve(answer_all) as server:
        for _ in range(2):
            assert await status(transport, server) == 200
        await nothing_open(transport)
    assert server.connections == 2


async def test_as_many_are_kept_as_the_limits_allow(with_pool: Make) -> None:
    together = asyncio.Barrier(4)

    async def script(peer: Peer) -> None:
        await peer.request()
        await together.wait()
        await peer.send(ok())
        await peer.gone()

    transport = await with_pool(ConnectionPool(max_idle=3, max_per_origin=2))
    async with serve(script) as one, serve(script) as other:
        await asyncio.gather(*(status(transport, one) for _ in range(4)))
        assert transport.pool.idle == 2
        await asyncio.gather(*(status(transport, other) for _ in range(4)))
        # The connection that was idle longest made room.
        assert transport.pool.idle == 3

        async def closed() -> bool:
            return (one.left, other.left, len(transport.pool.open)) == (3, 2, 3)

        await until(closed, "the surplus is closed")


async def test_hundreds_of_requests_are_in_flight_at_once(transport: HttpTransport) -> None:
    together = asyncio.Barrier(300)

    async def script(peer: Peer) -> None:
        await peer.request()
        await together.wait()
        await peer.send(ok())
        await peer.gone()

    async with serve(script) as server:
        assert await asyncio.gather(*(status(transport, server) for _ in range(300))) == [200] * 300


async def test_a_cancelled_exchange_leaves_no_connection(transport: HttpTransport) -> None:
    async with serve(hang) as server:
        asked = [asyncio.create_task(status(transport, server, HOUR_MS)) for _ in range(20)]

        async def arrived() -> bool:
            return len(server.requests) == 20

        await until(arrived, "the requests arrive")
        for task in asked:
            task.cancel()
        assert all(
            isinstance(done, asyncio.CancelledError) for done in await asyncio.gather(*asked, return_exceptions=True)
        )
        await nothing_open(transport)

        async def left() -> bool:
            return server.left == 20

        await until(left, "the server sees them closed")


async def test_cancelling_at_any_moment_leaves_no_connection_and_harms_no_other(transport: HttpTransport) -> None:
    async with serve(answer_all) as server:
        for turns in range(40):
            doomed = asyncio.create_task(status(transport, server))
            for _ in range(turns % 20):
                await asyncio.sleep(0)
            doomed.cancel()
            assert await status(transport, server) == 200
            await asyncio.gather(doomed, return_exceptions=True)

        async def idle() -> bool:
            return len(transport.pool.open) == transport.pool.idle

        await until(idle, "what is open is idle")


async def test_closing_the_transport_closes_every_connection() -> None:
    transport = HttpTransport(LOOPBACK)
    async with serve(hang) as hanging, serve(answer_all) as answering:
        assert await status(transport, answering) == 200
        asked = asyncio.create_task(status(transport, hanging))

        async def arrived() -> bool:
            return len(hanging.requests) == 1

        await until(arrived, "the request arrives")
        await transport.close()
        assert await asked is None
        await nothing_open(transport)


async def test_a_connection_that_closes_while_the_receiver_works_is_an_attempt(transport: HttpTransport) -> None:
    """A stale connection fails at once. If it fails later, the receiver had the request, so the
    transport does not repeat it: the relay logs an attempt."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        await peer.request()
        await asyncio.sleep(STALE_SECONDS + 0.2)

    async with serve(script) as server:
        assert await status(transport, server) == 200
        exchange = await transport.post(server.url, {}, b"{}", PATIENT_MS)
    assert (exchange.status, exchange.error) == (None, "the connection was closed before an answer")
    assert len(server.requests) == 2
