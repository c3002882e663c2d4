"""Housekeeping that ends deliveries keeps order by item intact, and the audit finds an order that
is not."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from relay.board import Board
from relay.lead.fanout import FanOut
from relay.lead.retention import Retention
from relay.watch.database import open_queues
from service.platform.db import Pool, open_pool
from service.platform.queries import Statement, load
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit
from tests.support.relay.ordered_webhooks import change, check_order, items, ordered_webhook
from tests.support.relay.parts import housekeeping, leader_identity
from tests.support.rows import NOWHERE, Webhook
from tests.support.waiting import until


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, application_name="test", size=2)
    yield pool
    pool.terminate()


@pytest.fixture
async def webhook(connection: Connection, settings: Settings) -> Webhook:
    return await ordered_webhook(connection, settings, NOWHERE)


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The lanes for which the board is notified that something is due."""
    webhook_ids: list[UUID] = []
    monkeypatch.setattr(Board, "due_in", lambda _, webhook_id, __: webhook_ids.append(webhook_id))
    return webhook_ids


@pytest.fixture
def retention(pool: Pool, settings: Settings) -> Retention:
    return housekeeping(pool, settings, identity=leader_identity())


async def _queued(connection: Connection, pool: Pool, item_id: UUID, count: int) -> None:
    for number in range(count):
        await change(connection, item_id, number)
    await FanOut(pool).batch()


async def _age(connection: Connection, settings: Settings, *positions: int) -> None:
    """Make these events older than the history."""
    old = timedelta(seconds=settings.webhook_event_ttl + 60)
    for table in ("deliveries", "attempts"):
        await connection.execute(
            f"update {table} set event_at = event_at - $1::interval where position = any ($2)", old, positions
        )


async def _line(connection: Connection) -> list[tuple[int, bool]]:
    """The pending sequences, and whether each is due."""
    rows = await connection.fetch(
        "select sequence, next_attempt_at is not null as due from deliveries order by item_id, sequence"
    )
    return [(row["sequence"], row["due"]) for row in rows]


async def _block(connection: Connection, position: int) -> None:
    """The rows that a relay leaves when a head has failed."""
    await connection.execute(
        """with gone as (delete from deliveries where position = $1 returning *),
                logged as (insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, item_id, sequence)
                           select webhook_id, position, event_id, event_type, event_at, 1, 'failed', item_id, sequence from gone)
           update item_orders as o
              set head = null, blocked_position = $1, blocked_event_at = gone.event_at
             from gone where o.item_id = gone.item_id""",
        position,
    )


async def _generic_plan(pool: Pool, statement: Statement) -> str:
    async with pool.acquire() as connection:
        types = (await connection.prepare(statement.sql)).get_parameters()
        declared = ", ".join(parameter.name.replace("bool", "boolean") for parameter in types)
        await connection.execute("deallocate all")
        await connection.execute(f"prepare asked ({declared}) as {statement.sql}")
        nulls = ", ".join("null" for _ in types)
        lines = await connection.fetch(f"explain execute asked ({nulls})")
    return "\n".join(line[0] for line in lines)


async def test_only_the_first_of_an_item_is_due(
    connection: Connection, pool: Pool, webhook: Webhook, database_url: str
) -> None:
    one, two = items(2)
    await _queued(connection, pool, one, 3)
    await _queued(connection, pool, two, 1)
    await _queued(connection, pool, one, 1)
    assert await _line(connection) == [(1, True), (2, False), (3, False), (4, False), (1, True)]
    assert await run_audit("order", database_url) == []


async def test_when_what_was_first_expires_the_next_is_due(
    connection: Connection, pool: Pool, webhook: Webhook, settings: Settings, retention: Retention, due: list[UUID]
) -> None:
    (item,) = items(1)
    await _queued(connection, pool, item, 4)
    await _age(connection, settings, 1, 2)
    await retention.once()
    assert await _line(connection) == [(3, True), (4, False)]
    assert due == [webhook.id]
    assert await connection.fetchval(
        "select array_agg(sequence order by sequence) from attempts where outcome = 'expired'"
    ) == [
        1,
        2,
    ]


async def test_one_that_expires_behind_another_changes_nothing_for_that(
    connection: Connection, pool: Pool, webhook: Webhook, settings: Settings, retention: Retention, due: list[UUID]
) -> None:
    (item,) = items(1)
    await _queued(connection, pool, item, 3)
    await _age(connection, settings, 2)
    await retention.once()
    assert await _line(connection) == [(1, True), (3, False)]
    assert due == []


async def test_what_is_new_waits_while_an_item_is_blocked_and_goes_on_when_the_history_forgets_why(
    connection: Connection, pool: Pool, webhook: Webhook, settings: Settings, retention: Retention, due: list[UUID]
) -> None:
    (item,) = items(1)
    await _queued(connection, pool, item, 1)
    await _block(connection, 1)
    await _queued(connection, pool, item, 2)
    await retention.once()
    assert await _line(connection) == [(2, False), (3, False)]
    old = timedelta(seconds=settings.webhook_event_ttl + 60)
    await connection.execute("update item_orders set blocked_event_at = blocked_event_at - $1::interval", old)
    await retention.once()
    assert await _line(connection) == [(2, True), (3, False)]
    assert due == [webhook.id]


async def test_a_block_that_came_after_its_webhook_had_stopped_asking_for_it_is_let_go(
    connection: Connection, pool: Pool, webhook: Webhook, retention: Retention, database_url: str
) -> None:
    (item,) = items(1)
    await _queued(connection, pool, item, 2)
    await connection.execute("update webhooks set on_failure = 'skip'")
    await _block(connection, 1)
    await retention.once()
    assert await _line(connection) == [(2, True)]
    assert await connection.fetchval("select count(*) from attempts where outcome = 'skipped'") == 1
    assert await run_audit("order", database_url) == []


async def test_a_deleted_webhooks_items_are_forgotten_once_nothing_is_owed(
    connection: Connection, pool: Pool, webhook: Webhook, retention: Retention
) -> None:
    (item,) = items(1)
    await _queued(connection, pool, item, 3)
    await connection.execute(
        "update webhooks set active = false, deleted_at = now(), discard_through = 9223372036854775807"
    )
    await retention.once()
    assert await _line(connection) == []
    assert await connection.fetchval("select count(*) from item_orders") == 0


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (
            "update deliveries set next_attempt_at = null",
            {"an item stands still", "the head of an item is not what is due"},
        ),
        (
            "update deliveries set next_attempt_at = now()",
            {"two of an item may be sent at once"},
        ),
        ("update item_orders set head = 2", {"the head of an item is not what is due"}),
        ("delete from item_orders", {"an item stands still"}),
        ("delete from deliveries where sequence = 2", {"numbers have a gap"}),
        ("update item_orders set sequence = 9", {"numbers have a gap"}),
        (
            (
                "insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, item_id, sequence,"
                " started_at, recorded_at) select webhook_id, position, event_id, event_type, event_at, 1, 'success', item_id,"
                " sequence, now(), now() + sequence * interval '1 ms' from deliveries"
            ),
            {"sent before the one before it had ended"},
        ),
    ],
)
async def test_damage_is_found(
    damage: str, problems: set[str], connection: Connection, pool: Pool, webhook: Webhook, database_url: str
) -> None:
    (item,) = items(1)
    # The audit covers the time after the earliest attempt in the log.
    await connection.execute(
        "insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome)"
        " values (uuidv7(), 0, uuidv7(), 'item-created', now(), 1, 'superseded')"
    )
    await _queued(connection, pool, item, 3)
    await check_order(database_url)
    await connection.execute(damage)
    assert {row.split("|")[0] for row in await run_audit("order", database_url)} == problems


@pytest.mark.parametrize("once_full", [False, True], ids=["never filled", "just run empty"])
async def test_claims_and_sweeps_never_meet_what_waits(
    once_full: bool, connection: Connection, database_url: str, webhook: Webhook
) -> None:
    """Planned as a relay plans, with statistics of an empty table: the statements use the index
    that has only heads."""
    queues = await open_queues(database_url)
    try:
        (item,) = items(1)
        if once_full:
            await _queued(connection, queues, item, 300)
            await connection.execute("delete from deliveries")
        await connection.execute("vacuum (analyze, truncate off) deliveries")
        await _queued(connection, queues, item, 300)
        for statement in (load("claim").claim, load("claim").sweep):
            plan = await _generic_plan(queues, statement)
            assert "deliveries_lane" in plan, plan
            assert "deliveries_pkey" not in plan.partition("CTE claimed")[0], plan
        plan = await _generic_plan(queues, load("order").promote)
        looks = re.findall(
            r"using (deliveries_\w+) on [^\n]*\n *Index Cond: [^\n]*webhook_id[^\n]*(item_id|position)", plan
        )
        # Each row is found by its item or position, and no index is read from end to end.
        assert sorted(looks) == [
            ("deliveries_order", "item_id"),
            ("deliveries_order", "item_id"),
            ("deliveries_pkey", "position"),
        ], plan
        assert plan.count(" on deliveries ") == 4, plan
    finally:
        queues.terminate()


async def test_what_is_blocked_under_an_older_policy_is_let_go_within_a_minute(
    connection: Connection, pool: Pool, webhook: Webhook, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay may have read the webhook before it was changed, and block the item afterwards."""
    hourly = asyncio.Event()

    async def reschedule() -> None:
        hourly.set()

    monkeypatch.setattr(retention, "_reschedule", reschedule)
    monkeypatch.setattr("relay.lead.retention.ANNOUNCE_SECONDS", 0.1)
    (item,) = items(1)
    await _queued(connection, pool, item, 2)
    running = asyncio.create_task(retention.run())
    async with asyncio.timeout(10):
        await hourly.wait()
    await connection.execute("update webhooks set on_failure = 'skip' where id = $1", webhook.id)
    await _block(connection, 1)

    async def let_go() -> bool:
        return await _line(connection) == [(2, True)]

    await until(let_go, "the next is due")
    running.cancel()
    await asyncio.wait([running])
