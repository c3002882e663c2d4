"""The audit scripts find each kind of damage, and nothing in a healthy database."""

import pytest
from aiohttp import web

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until


@pytest.fixture
async def history(connection: Connection, settings: Settings, relays: Relays, receiver: Receiver) -> None:
    """A few deliveries with each outcome."""

    async def answer(arrival: Arrival) -> web.StreamResponse:
        return web.Response(status=500 if arrival.path == "/failing" else 200)

    receiver.answer = answer
    await add_webhook(connection, settings, receiver.url + "/working", ["item-created"])
    await add_webhook(connection, settings, receiver.url + "/failing", ["item-created"], max_retries=0)
    await add_webhook(connection, settings, receiver.url + "/failing", ["item-deleted"], retry_delay_ms=60_000)
    await relays.start()
    for _ in range(5):
        await write_event(connection)
    await write_event(connection, "item-deleted")

    async def settled() -> bool:
        found: bool = await connection.fetchval("select count(*) = 11 from attempts")
        return found

    await until(settled, "every first attempt is recorded")


pytestmark = pytest.mark.usefixtures("history")


async def test_a_whole_chain_has_no_row(database_url: str) -> None:
    assert await run_audit("outbox_completeness", database_url) == []


async def test_events_whose_attempts_were_dropped_with_their_day_are_not_taken_for_lost(
    connection: Connection, database_url: str
) -> None:
    """A day of events stays while an attempt of the next day refers to one of them."""
    await connection.execute("delete from deliveries; delete from delivery_counts")
    days = await connection.fetch(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'attempts'::regclass"
        " and right(inhrelid::regclass::text, 8) <= to_char(now() at time zone 'UTC', 'YYYYMMDD')"
    )
    await connection.execute("".join(f"drop table {row[0]};" for row in days))
    assert await run_audit("outbox_completeness", database_url) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("delete from attempts where outcome = 'success' and position = 2", "an event has lost deliveries"),
        ("delete from deliveries", "an event has lost deliveries"),
        ("delete from events where position = 6", "a delivery has no event"),
        ("delete from events where position = 3", "positions have a gap"),
        ("update delivery_counts set current = current + 1 where status = 'success'", "counts differ from the log"),
        (
            (
                "insert into deliveries (webhook_id, position, event_id, event_type, event_at)"
                " select webhook_id, position, event_id, event_type, event_at from attempts where outcome = 'success' limit 1"
            ),
            "a delivery has ended and is queued",
        ),
        (
            "insert into audit (action, entity, entity_id) values ('update', 'item', uuidv7())",
            "a mutation has no event",
        ),
        (
            "insert into audit (action, entity, entity_id, event_ids) values ('update', 'item', uuidv7(), array[uuidv7()])",
            "a mutation's event is nowhere",
        ),
    ],
)
async def test_damage_is_found(damage: str, problem: str, connection: Connection, database_url: str) -> None:
    await connection.execute(damage)
    assert problem in {row.split("|")[0] for row in await run_audit("outbox_completeness", database_url)}


async def test_what_is_undelivered_is_listed_with_why(connection: Connection, database_url: str) -> None:
    await connection.execute("insert into outbox (type, data) values ('item-created', '{\"n\": 1.5}')")

    async def aside() -> object:
        return await connection.fetchval("select count(*) from set_aside")

    await until(aside, "the row is set aside")
    rows = [row.split("|") for row in await run_audit("undelivered", database_url, older_than="0 seconds")]
    assert {(row[0], row[5], row[8]) for row in rows} == {
        ("delivery", "waits for its next attempt", "the receiver answered 500"),
        ("set aside", "cannot be fanned out", "data.n is a number that is not an integer; decimals travel as strings"),
    }
    assert [row.split("|")[0] for row in await run_audit("undelivered", database_url)] == ["set aside"]


async def test_latency_is_told_by_webhook(database_url: str) -> None:
    rows = [row.split("|") for row in await run_audit("latency", database_url)]
    assert {(row[0].rpartition("/")[2], row[1], row[2]) for row in rows} == {
        ("working", "5", "0"),
        ("failing", "0", "6"),
    }
    assert all(float(row[3]) >= 0 and float(row[7]) > 0 for row in rows)
