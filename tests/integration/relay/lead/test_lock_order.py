"""Statements lock several rows in one order. So transactions on the same rows wait for each other
and never deadlock."""

import asyncio

from service.delivery.subject import columns, subject_of
from service.platform.db import Pool
from service.platform.queries import load
from tests.support.database import WAITING, Connection, SomebodyWaits
from tests.support.relay.fan_out import drain
from tests.support.rows import write_event

_SQL = load("fanout")


async def test_two_leaders_that_route_the_same_rows_wait_for_each_other_in_the_order_of_the_queue(
    connection: Connection, another_connection: Connection, third: Connection, somebody_waits: SomebodyWaits
) -> None:
    for _ in range(50):
        await write_event(connection)
    rows = await connection.fetch("select seq, type, data from outbox order by seq")
    subjects = [subject_of(row["type"], row["data"], None) for row in rows]

    async def route(leader: Connection, *, backwards: bool) -> None:
        pairs = list(zip([row["seq"] for row in rows], subjects, strict=True))
        if backwards:
            pairs.reverse()
        routed = [subject for _, subject in pairs]
        await _SQL.route.execute(
            leader, seqs=[seq for seq, _ in pairs], datas=[one.data for one in routed], **columns(routed)
        )

    # A row in the middle is locked, so both leaders stop there with the rows before it locked.
    async with connection.transaction():
        await connection.execute("select from outbox where seq = $1 for update", rows[25]["seq"])
        leaders = [
            asyncio.create_task(route(another_connection, backwards=False)),
            asyncio.create_task(route(third, backwards=True)),
        ]
        while await connection.fetchval(WAITING) < 2:
            await connection.execute("select pg_stat_clear_snapshot()")
            await asyncio.sleep(0.01)
    await asyncio.gather(*leaders)
    assert await connection.fetchval("select count(*) from outbox where audience is not null") == 50


async def test_two_leaders_that_route_and_fan_out_at_once_do_so_without_a_deadlock(
    connection: Connection, pool: Pool
) -> None:
    before = await connection.fetchval("select deadlocks from pg_stat_database where datname = current_database()")
    for _ in range(5):
        async with connection.transaction():
            for _ in range(40):
                await write_event(connection)

        await asyncio.gather(drain(pool), drain(pool))
    assert await connection.fetchval("select count(*) from events") == 200
    assert await connection.fetchval("select count(distinct position) from events") == 200
    assert await connection.fetchval("select count(*) from outbox") == 0
    after = await connection.fetchval("select deadlocks from pg_stat_database where datname = current_database()")
    assert after == before
