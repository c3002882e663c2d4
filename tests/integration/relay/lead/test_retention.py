"""Old partitions are dropped when nothing refers to them, deliveries that wait too long expire, and
no writer waits for either."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.platform.db import Pool
from service.platform.queries import load
from service.platform.settings import Settings
from tests.support.database import THIS_DATABASE, Connection
from tests.support.relay.log import RelayLog
from tests.support.relay.parts import housekeeping
from tests.support.rows import Webhook, add_webhook

_PARTITIONS = load("partitions")
_RETENTION = load("retention")
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
TTL = timedelta(days=30)


@pytest.fixture
async def webhook(connection: Connection, settings: Settings) -> Webhook:
    return await add_webhook(connection, settings, "http://127.0.0.1:9", ["item-created"])


async def _there(connection: Connection, name: str) -> bool:
    return bool(await connection.fetchval("select to_regclass($1) is not null", name))


async def _drop_all(queues: Pool, now: datetime) -> list[str]:
    dropped = []
    while name := await _PARTITIONS.drop_partition.fetchval(queues, ttl_seconds=int(TTL.total_seconds()), now=now):
        dropped.append(name)
    return dropped


async def test_a_partition_of_events_stays_until_no_attempt_refers_to_it(
    connection: Connection, queues: Pool, log: RelayLog, webhook: Webhook
) -> None:
    old, older = NOON - timedelta(days=40), NOON - timedelta(days=41)
    for day in (old, older):
        await log.partition(day)
    # All deliveries of the older day have ended. One of the other day was retried by hand and ended
    # today.
    await log.succeeded(webhook.id, at=older)
    retried = await log.event(webhook.id, at=old)
    await log.attempt(webhook.id, retried, "success", status=200)

    assert await _drop_all(queues, NOON) == [
        f"attempts_{older:%Y%m%d}",
        f"attempts_{old:%Y%m%d}",
        f"events_{older:%Y%m%d}",
    ]
    assert await _there(connection, f"events_{old:%Y%m%d}")

    # When today's attempts are past the TTL, their partition goes first, and then the events that
    # they referred to.
    later = await _drop_all(queues, NOON + TTL + timedelta(days=1))
    assert f"events_{old:%Y%m%d}" in later
    assert later.index(f"attempts_{NOON:%Y%m%d}") < later.index(f"events_{old:%Y%m%d}")


async def test_a_partition_of_events_stays_while_a_delivery_is_owed_from_it(
    connection: Connection, queues: Pool, log: RelayLog, webhook: Webhook
) -> None:
    old = NOON - timedelta(days=40)
    await log.partition(old)
    await log.event(webhook.id, at=old)
    assert await _drop_all(queues, NOON) == [f"attempts_{old:%Y%m%d}"]


async def test_a_delivery_that_is_pending_past_the_ttl_ends_as_expired_unless_it_is_being_sent(
    connection: Connection, queues: Pool, settings: Settings, log: RelayLog, webhook: Webhook
) -> None:
    old = NOON - timedelta(days=40)
    await log.partition(old)
    pending, sending, young = (
        await log.event(webhook.id, at=old),
        await log.event(webhook.id, at=old),
        await log.event(webhook.id),
    )
    await connection.execute(
        "update deliveries set leased_by = gen_random_uuid(), lease_until = now() + interval '1 minute', fence = 1 where event_id = $1",
        sending.id,
    )
    await housekeeping(queues, settings).once()
    ends = await connection.fetch("select event_id, outcome from attempts")
    assert [(row["event_id"], row["outcome"]) for row in ends] == [(pending.id, "expired")]
    left = await connection.fetch("select event_id from deliveries order by position")
    assert [row["event_id"] for row in left] == [sending.id, young.id]
    assert await connection.fetchval("select current from delivery_counts where status = 'expired'") == 1
    assert await _there(connection, f"events_{old:%Y%m%d}")

    await connection.execute("delete from deliveries where event_id = $1", sending.id)
    # The end of the expired delivery is in today's log, and needs its event for as long as that is
    # kept.
    await housekeeping(queues, settings).once()
    assert await _there(connection, f"events_{old:%Y%m%d}")


async def test_counts_of_days_that_the_log_has_nothing_of_become_one(
    connection: Connection, queues: Pool, settings: Settings, log: RelayLog, webhook: Webhook
) -> None:
    ttl = timedelta(seconds=settings.webhook_event_ttl)
    for days, count in ((400, 1), (100, 2), (40, 4), (1, 8)):
        for status in ("success", "failed"):
            await connection.execute(
                "insert into delivery_counts (webhook_id, day, status, ended, current, last_at) values ($1, $2, $3, $4, 0, $5)",
                webhook.id,
                (NOON - timedelta(days=days)).date(),
                status,
                count,
                NOON - timedelta(days=days),
            )
    statistics = "select status, sum(ended) as ended, max(last_at) as last_at from delivery_counts group by status order by status"
    # The log still has rows of this day.
    kept = NOON - timedelta(days=40)
    await log.partition(kept)
    await log.failed(webhook.id, at=kept)
    before = await connection.fetch(statistics)
    for folded in (3, 1, 0):
        assert await _RETENTION.fold_counts.fetchval(connection, batch=3, ttl=ttl, now=None) == folded
    left = await connection.fetch("select day, ended from delivery_counts where status = 'failed' order by day")
    assert [row["ended"] for row in left] == [3, 5, 8]
    assert str(left[0]["day"]) == "0001-01-01"
    assert await connection.fetch(statistics) == before


@asynccontextmanager
async def _reading(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A transaction that has read the logs and is still open, such as a backup. Nothing can be
    dropped meanwhile."""
    reader = await asyncpg.connect(url)
    try:
        async with reader.transaction():
            await reader.fetch("select from attempts")
            await reader.fetch("select from events")
            yield reader
    finally:
        await reader.close()


async def test_nobody_waits_for_a_drop_that_waits(
    connection: Connection, database_url: str, queues: Pool, settings: Settings, log: RelayLog, webhook: Webhook
) -> None:
    old = NOON - timedelta(days=40)
    await log.partition(old)
    # A statement that waits longer than this for a lock fails. A drop gives up after 100 ms.
    await connection.execute("set lock_timeout = '2s'")
    async with _reading(database_url):
        dropping = asyncio.create_task(housekeeping(queues, settings).once())
        refused = 0
        while refused < 3:
            await log.succeeded(webhook.id)
            waits = await connection.fetchval(
                f"select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock' and {THIS_DATABASE}"
            )
            refused += waits
        assert not dropping.done()
    await dropping
    assert not await _there(connection, f"attempts_{old:%Y%m%d}")
    assert not await _there(connection, f"events_{old:%Y%m%d}")


async def test_a_drop_holds_its_lock_for_one_partition_only(
    connection: Connection, queues: Pool, log: RelayLog
) -> None:
    days = [NOON - timedelta(days=40 + n) for n in range(3)]
    for day in days:
        await log.partition(day)
    async with queues.acquire() as dropper, dropper.transaction():
        await _PARTITIONS.drop_partition.fetchval(dropper, ttl_seconds=int(TTL.total_seconds()), now=NOON)
        locked = await connection.fetch(
            "select relation::regclass::text as name from pg_locks join pg_class as c on c.oid = relation"
            f" where mode = 'AccessExclusiveLock' and granted and c.relkind in ('r', 'p') and {THIS_DATABASE}"
        )
    names = {row["name"] for row in locked}
    assert "events" not in names
    assert len([name for name in names if "_2" in name]) <= 1
