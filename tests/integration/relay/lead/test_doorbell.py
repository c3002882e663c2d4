"""The leader's look, which also puts it to sleep."""

import asyncio

import asyncpg
import pytest

from relay.lead.doorbell import LeaderState
from relay.lead.fanout import FanOut
from tests.support.database import Connection, SomebodyWaits
from tests.support.relay.fan_out import RING, wake
from tests.support.rows import write_event

pytestmark = pytest.mark.usefixtures("either_way")

REFUSE = """
create function refuse() returns trigger language plpgsql
as $$ begin raise exception 'no room for it' using errcode = '53100'; end $$;
create trigger refuse before insert on events for each row execute function refuse();
"""
SPOIL = "alter table events add check (type <> 'item-created')"


async def look(leader: Connection, *, release_first: bool = False) -> tuple[int, LeaderState]:
    """The number of events that the look moves, and the leader's state after it."""
    batch = await FanOut(leader).batch(release_first=release_first, sleep_if_idle=True)
    return batch.events, batch.state


async def test_the_leader_sleeps_only_when_there_is_nothing_and_nobody_is_writing(
    connection: Connection, another_connection: Connection
) -> None:
    leader, writer = connection, another_connection
    assert await look(leader) == (0, "asleep")
    # The leader sleeps, so the writer is refused the lock and rings.
    assert not await writer.fetchval(RING)
    assert await wake(leader) == 0

    transaction = writer.transaction()
    await transaction.start()
    await write_event(writer)
    # The leader does not see the row yet, and the writer found the leader awake. So it does not
    # ring.
    assert await look(leader) == (0, "busy")
    await transaction.commit()
    assert await look(leader) == (1, "asleep")
    assert not await writer.fetchval(RING)
    assert await wake(leader) == 0

    await writer.execute("insert into lane_wakes values (gen_random_uuid())")
    assert await look(leader) == (0, "work")
    # The leader got the lock, and released it at once because it has work to do.
    assert await writer.fetchval(RING)
    await leader.execute("delete from lane_wakes")
    assert await look(leader) == (0, "asleep")
    assert await wake(leader) == 0
    assert await writer.fetchval(RING)


async def test_what_is_there_is_moved_even_while_others_write(
    connection: Connection, another_connection: Connection
) -> None:
    await write_event(connection, routed=True)
    async with another_connection.transaction():
        await another_connection.fetchval(RING)
        assert await look(connection) == (1, "busy")


async def test_what_commits_while_the_leader_looks_keeps_it_awake(
    connection: Connection, another_connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    leader, writer = another_connection, connection
    await write_event(writer, routed=True)
    async with writer.transaction():
        await writer.execute("select from log_head for update")
        looking = asyncio.create_task(look(leader))
        await somebody_waits()
        await write_event(writer, routed=True)
    # The writer commits as the leader goes on, after the leader's look.
    assert await looking == (1, "work")
    assert await writer.fetchval(RING), "it is awake"
    assert await look(leader) == (1, "asleep")


async def test_more_than_a_batch_keeps_the_leader_awake(connection: Connection, another_connection: Connection) -> None:
    for _ in range(3):
        await write_event(connection, routed=True)
    fanout = FanOut(connection)
    fanout._limit = 2
    batch = await fanout.batch(sleep_if_idle=True)
    assert (batch.events, batch.full, batch.state) == (2, True, "work")
    assert await another_connection.fetchval(RING)
    batch = await fanout.batch(sleep_if_idle=True)
    assert (batch.events, batch.full, batch.state) == (1, False, "asleep")


@pytest.mark.parametrize("sleep_if_idle", [True, False])
@pytest.mark.parametrize("routed", [True, False])
@pytest.mark.parametrize("spoilt", [True, False])
async def test_the_lock_is_held_once_whatever_is_found(
    connection: Connection, another_connection: Connection, *, routed: bool, spoilt: bool, sleep_if_idle: bool
) -> None:
    leader, writer = connection, another_connection
    assert await look(leader) == (0, "asleep")
    await write_event(writer, routed=routed)
    if spoilt:
        await writer.execute(SPOIL)
    batch = await FanOut(leader).batch(release_first=True, sleep_if_idle=sleep_if_idle)
    assert batch.taken == 1
    assert batch.events == (0 if spoilt else 1)
    assert batch.state == ("asleep" if sleep_if_idle else "work")
    assert await writer.fetchval(RING) == (not sleep_if_idle)
    assert await look(leader, release_first=sleep_if_idle) == (0, "asleep")
    assert not await writer.fetchval(RING)
    assert await wake(leader) == 0
    assert await writer.fetchval(RING)


async def test_a_look_that_is_refused_leaves_the_lock_to_the_next(
    connection: Connection, another_connection: Connection
) -> None:
    leader, writer = connection, another_connection
    await write_event(writer, routed=True)
    await writer.execute(REFUSE)
    for _ in range(2):
        with pytest.raises(asyncpg.DiskFullError):
            await look(leader, release_first=True)
    await writer.execute("drop function refuse cascade")
    assert await look(leader, release_first=True) == (1, "asleep")
    assert not await writer.fetchval(RING)
    assert await wake(leader) == 0
    assert await writer.fetchval(RING)


async def test_the_lock_is_held_once_where_psql_takes_away_what_was_stuck(
    connection: Connection, another_connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    leader, psql = another_connection, connection
    await write_event(psql, routed=True)
    await write_event(psql)
    fanout = FanOut(leader)
    async with psql.transaction():
        await psql.execute("select from log_head for update")
        looking = asyncio.create_task(fanout.batch(sleep_if_idle=True))
        await somebody_waits()
        await psql.execute("delete from outbox where audience is null")
    batch = await looking
    # The look saw the stuck row. The row is gone now, so the leader falls asleep.
    assert (batch.events, batch.full, batch.state) == (1, True, "asleep")
    batch = await fanout.batch(release_first=True, sleep_if_idle=True)
    assert (batch.events, batch.state) == (0, "asleep")
    assert await wake(leader) == 0
    assert await psql.fetchval(RING)
