"""The leader's last look before it sleeps."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from relay import doorbell
from service.platform.queries import load
from tests.integration.caller import Database
from tests.relays import write_event

FANOUT = load("fanout")
RING = "select pg_try_advisory_xact_lock_shared(1246712659, 2)"


@pytest.fixture
async def another_connection(database_url: str) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close(timeout=10)


async def wake(leader: Database) -> list[object]:
    rows = await FANOUT.read_outbox.fetch(
        leader, batch=10, asleep=True, class_id=doorbell.LOCK_CLASS, object_id=doorbell.LOCK_DOORBELL
    )
    return [row["seq"] for row in rows]


async def test_the_leader_sleeps_only_when_there_is_nothing_and_nobody_is_writing(
    connection: Database, another_connection: Database
) -> None:
    leader, writer = connection, another_connection
    assert await doorbell.fall_asleep(leader) == "asleep"
    # A writer that finds it asleep is refused, and rings.
    assert not await writer.fetchval(RING)
    assert await wake(leader) == [None]

    transaction = writer.transaction()
    await transaction.start()
    await write_event(writer)
    # Not seen yet, and the writer was let off: it does not ring.
    assert await doorbell.fall_asleep(leader) == "busy"
    await transaction.commit()
    assert await doorbell.fall_asleep(leader) == "work"
    # It was granted, and is let go of at once: there is something to do.
    assert await writer.fetchval(RING)
    await leader.execute("delete from outbox")
    await writer.execute("insert into lane_wakes values (gen_random_uuid())")
    assert await doorbell.fall_asleep(leader) == "work"
    await leader.execute("delete from lane_wakes")
    assert await doorbell.fall_asleep(leader) == "asleep"
    assert await wake(leader) == [None]
    assert await writer.fetchval(RING)


async def test_what_is_there_is_seen_even_while_others_write(
    connection: Database, another_connection: Database
) -> None:
    await write_event(connection)
    async with another_connection.transaction():
        await another_connection.fetchval(RING)
        assert await doorbell.fall_asleep(connection) == "work"
