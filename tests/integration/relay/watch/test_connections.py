"""The relay's pool, and connections that are open although nothing passes over them."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.watch import database
from relay.watch.database import Queues, open_queues
from service.platform.db import AWAY
from tests.support.database import Connection
from tests.support.postgres.swallowing_proxy import SwallowingProxy
from tests.support.waiting import until


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[SwallowingProxy]:
    address = parse_qs(urlsplit(database_url).query)
    async with SwallowingProxy(f"{address['host'][0]}/.s.PGSQL.{address['port'][0]}") as proxy:
        yield proxy


@pytest.fixture
async def pool(proxy: SwallowingProxy, database_url: str) -> AsyncIterator[Queues]:
    pool = await open_queues(proxy.url.replace("/jossiedb?", f"{urlsplit(database_url).path}?"))
    yield pool
    pool.terminate()


async def test_a_statement_that_is_cancelled_and_not_acknowledged_hangs_up_on_all(
    pool: Queues, proxy: SwallowingProxy
) -> None:
    async with pool.acquire() as other:
        await other.execute("select 1")
        await pool.execute("select 1")
        proxy.swallow_all()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.execute("select 1")
        with pytest.raises(AWAY):
            await other.execute("select 1")
    assert await pool.fetchval("select 1") == 1


async def test_a_statement_that_is_slow_is_cancelled_and_nothing_is_hung_up_on(pool: Queues) -> None:
    async with pool.acquire() as other:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.execute("select pg_sleep(60)")
        assert await other.fetchval("select 1") == 1


async def test_an_answer_that_is_lost_is_noticed_and_its_backend_ended(
    pool: Queues, proxy: SwallowingProxy, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers on another connection, so a relay that had a spare one would go on."""
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.2)
    async with pool.acquire() as cut_off:
        backend = await cut_off.fetchval("select pg_backend_pid()")
        await cut_off.execute("begin; lock table receiver_health")
        proxy.swallow_all()

        waiting = asyncio.create_task(cut_off.execute("select 1"))

        async def hung_up() -> bool:
            await pool.look_after()
            return waiting.done()

        await until(hung_up, "the pool hangs up")
        with pytest.raises(AWAY):
            await waiting
    await pool.look_after()

    async def ended() -> bool:
        return not await connection.fetchval("select exists (select from pg_stat_activity where pid = $1)", backend)

    await until(ended, "the backend that was left is ended, with its locks")


async def test_an_answer_that_is_lost_between_preparing_a_statement_and_executing_it_is_noticed(
    pool: Queues, proxy: SwallowingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is not idle then: it waits for the command to execute the statement."""
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.2)
    async with pool.acquire() as cut_off:
        statement = await cut_off.prepare("select count(*) from outbox where seq > $1")
        proxy.swallow_all()
        waiting = asyncio.create_task(statement.fetchval(0))

        async def hung_up() -> bool:
            await pool.look_after()
            return waiting.done()

        await until(hung_up, "the pool hangs up", 10)
        with pytest.raises(AWAY):
            await waiting


async def test_a_statement_that_is_slow_is_not_taken_for_lost(pool: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.1)
    async with pool.acquire() as slow:
        working = asyncio.create_task(slow.fetchval("select 1 from pg_sleep(1)"))
        while not working.done():
            await pool.look_after()
        assert await working == 1
