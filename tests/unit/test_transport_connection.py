"""Moments that a real socket does not offer on demand."""

import asyncio

import pytest

from relay.transport import Exchange
from relay.transport.connection import ANSWERED, SILENT, Connection, Post
from relay.transport.endpoint import Origin
from relay.transport.pool import Pool
from tests.unit.wire import Keeper, Wire

ORIGIN = Origin("http", "a.test", 80)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def post() -> Post:
    loop = asyncio.get_running_loop()
    return Post(b"", Exchange(), 0.0, loop.time() + 3600, loop.create_future())


async def test_cancelling_one_whose_answer_has_come_does_not_end_the_exchange_of_the_next() -> None:
    keeper, wire = Keeper(), Wire()
    one, two = post(), post()
    connection = Connection(ORIGIN, keeper, asyncio.get_running_loop(), one)
    connection.connection_made(wire)
    first = asyncio.create_task(connection.answer(one))
    await asyncio.sleep(0)
    connection.data_received(ANSWER)
    assert keeper.kept == 1
    connection.send(two)
    second = asyncio.create_task(connection.answer(two))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not wire.closed
    connection.data_received(ANSWER)
    assert await second == ANSWERED
    connection.abort()


async def test_one_who_looks_late_gets_the_answer_of_its_own_request() -> None:
    """The first answer may come before whoever dialled is told that the connection stands; then it is another's by that time."""
    keeper, one, two = Keeper(), post(), post()
    connection = Connection(ORIGIN, keeper, asyncio.get_running_loop(), one)
    connection.connection_made(Wire())
    connection.data_received(ANSWER)
    connection.send(two)
    async with asyncio.timeout(5):
        assert await connection.answer(one) == ANSWERED
    assert (one.exchange.status, two.exchange.status) == (200, None)
    connection.data_received(ANSWER.replace(b"200", b"503"))
    assert await connection.answer(two) == ANSWERED
    assert (one.exchange.status, two.exchange.status) == (200, 503)
    connection.abort()


async def test_a_connection_that_is_closing_is_not_taken_from_the_pool() -> None:
    pool, loop = Pool(), asyncio.get_running_loop()
    wires = [Wire(), Wire()]
    for wire in wires:
        connection = Connection(ORIGIN, pool, loop, post())
        connection.connection_made(wire)
        connection.data_received(ANSWER)
    assert pool.idle == 2
    wires[1].closed = True
    taken = pool.take(ORIGIN)
    assert taken is not None
    assert taken.usable
    assert pool.take(ORIGIN) is None
    pool.close()


async def test_a_connection_that_was_lost_before_the_request_is_silent() -> None:
    connection = Connection(ORIGIN, Keeper(), asyncio.get_running_loop(), post())
    connection.connection_made(Wire())
    connection.data_received(ANSWER)
    connection.connection_lost(None)
    again = post()
    connection.send(again)
    assert await connection.answer(again) == SILENT
    assert again.exchange.error == "the connection was closed before an answer"
