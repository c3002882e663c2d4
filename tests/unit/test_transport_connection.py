"""Events at moments that a real socket does not offer on demand."""

import asyncio

import pytest

from relay.rules.endpoint import Origin
from relay.transport.connection import ANSWERED, FAILED, SILENT, Connection
from relay.transport.pool import ConnectionPool
from tests.support.receivers.in_memory_connection import Keeper, Waited, Wire

ORIGIN = Origin("http", "a.test", 80)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def post() -> Waited:
    return Waited(asyncio.get_running_loop())


async def test_dropping_one_whose_answer_has_come_does_not_end_the_exchange_of_the_next() -> None:
    keeper, wire = Keeper(), Wire()
    one, two = post(), post()
    connection = Connection(ORIGIN, keeper, asyncio.get_running_loop(), one)
    connection.connection_made(wire)
    connection.data_received(ANSWER)
    assert keeper.kept == 1
    connection.send(two)
    connection.drop(one)
    assert not wire.closed
    connection.data_received(ANSWER)
    assert await two.end() == ANSWERED
    connection.abort()


async def test_what_is_dropped_is_told_nothing_and_closes_its_connection() -> None:
    keeper, wire, one = Keeper(), Wire(), post()
    connection = Connection(ORIGIN, keeper, asyncio.get_running_loop(), one)
    connection.connection_made(wire)
    connection.drop(one)
    assert wire.closed
    connection.data_received(ANSWER)
    connection.connection_lost(None)
    assert (keeper.kept, one.exchange.status, one.exchange.error) == (0, None, None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await one.end()


async def test_each_request_gets_its_own_answer() -> None:
    """The first answer may arrive before the dialling task knows that the connection is open. By
    then, the connection may serve another request."""
    keeper, one, two = Keeper(), post(), post()
    connection = Connection(ORIGIN, keeper, asyncio.get_running_loop(), one)
    connection.connection_made(Wire())
    connection.data_received(ANSWER)
    connection.send(two)
    assert await one.end() == ANSWERED
    assert (one.exchange.status, two.exchange.status) == (200, None)
    connection.data_received(ANSWER.replace(b"200", b"503"))
    assert await two.end() == ANSWERED
    assert (one.exchange.status, two.exchange.status) == (200, 503)
    connection.abort()


async def test_a_connection_that_is_closing_is_not_taken_from_the_pool() -> None:
    pool, loop = ConnectionPool(), asyncio.get_running_loop()
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
    assert await again.end() == SILENT
    assert again.exchange.error == "the connection was closed before an answer"


async def test_a_body_without_a_length_is_not_whole_where_this_side_ends_the_connection() -> None:
    one = post()
    connection = Connection(ORIGIN, Keeper(), asyncio.get_running_loop(), one)
    connection.connection_made(Wire())
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    connection.abort()
    connection.connection_lost(None)
    assert await one.end() == FAILED
    assert one.exchange.error == "the answer broke off"
