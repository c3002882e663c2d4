"""The doorbell misses nothing: with the poll an hour away, every event is delivered before the next
is written."""

import asyncpg
from aiohttp import web

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

ROUNDS = 40
HOUR_MS = "3600000"


async def test_every_event_is_delivered_without_the_poll(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, database_url: str
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    await relays.start(2, RELAY_POLL_INTERVAL=HOUR_MS)
    other = await asyncpg.connect(database_url)
    try:
        for number in range(ROUNDS):
            for write in (
                _plain,
                _after_savepoint,
                _inside_savepoint,
                _after_rollback,
                _beside_open_transaction,
                _bulk,
            ):
                expected = await write(connection, other)
                await receiver.wait_for(lambda expected=expected: expected <= set(receiver.ids()))  # type: ignore[misc]
            if number % 10 == 5:
                await connection.fetch(
                    "select pg_terminate_backend(listen_pid) from relays where listen_pid is not null"
                )
    finally:
        await other.close()
    await relays.idle()
    assert len(receiver.ids()) == len(set(receiver.ids()))
    assert await relays.poll_wakes() == 0


async def test_a_lane_that_is_given_work_is_looked_at_without_the_poll(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    """A manual retry and the activation of a webhook do not go through the outbox."""

    async def refuse(_: Arrival) -> web.StreamResponse:
        return web.Response(status=500)

    receiver.answer = refuse
    webhook = await add_webhook(
        connection, settings, receiver.url, ["item-created"], max_retries=20, retry_delay_ms=60_000
    )
    await relays.start(2, RELAY_POLL_INTERVAL=HOUR_MS)
    await write_event(connection)
    for attempts in range(1, 20):

        async def recorded(attempts: int = attempts) -> bool:
            return bool(
                await connection.fetchval("select attempts = $1 and leased_by is null from deliveries", attempts)
            )

        await until(recorded, f"attempt {attempts} is recorded")
        async with connection.transaction():
            await connection.execute("update deliveries set next_attempt_at = now()")
            await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 20)
    assert await relays.poll_wakes() == 0


async def _plain(connection: Connection, _: Connection) -> set[str]:
    return {str(await write_event(connection))}


async def _after_savepoint(connection: Connection, _: Connection) -> set[str]:
    async with connection.transaction():
        undo = connection.transaction()
        await undo.start()
        await write_event(connection)
        await undo.rollback()
        return {str(await write_event(connection))}


async def _inside_savepoint(connection: Connection, _: Connection) -> set[str]:
    async with connection.transaction():
        async with connection.transaction():
            kept = await write_event(connection)
        undo = connection.transaction()
        await undo.start()
        await write_event(connection)
        await undo.rollback()
        return {str(kept)}


async def _after_rollback(connection: Connection, _: Connection) -> set[str]:
    undo = connection.transaction()
    await undo.start()
    await write_event(connection)
    await undo.rollback()
    return {str(await write_event(connection))}


async def _beside_open_transaction(connection: Connection, other: Connection) -> set[str]:
    # This writer found the leader awake, and commits long after the leader's look.
    slow = other.transaction()
    await slow.start()
    late = await write_event(other)
    early = await write_event(connection)
    await slow.commit()
    return {str(late), str(early)}


async def _bulk(connection: Connection, _: Connection) -> set[str]:
    rows = await connection.fetch(
        "insert into outbox (type, data) select 'item-created', '{}' from generate_series(1, 5) returning id"
    )
    return {str(row["id"]) for row in rows}
