"""psql may write any value into the rows that a relay works on. Other events are delivered, and
each bad row ends."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiohttp import web

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.bad_rows import TYPE
from tests.support.relay.in_process import relaying
from tests.support.relay.log import RelayLog
from tests.support.rows import Webhook, add_webhook, write_event
from tests.support.waiting import until

# Values by type that psql could write. A check refuses most of them, and then there is nothing to
# show.
VALUES = {
    "timestamp with time zone": [
        "'infinity'",
        "'-infinity'",
        "'20000-01-01'",
        "'4000-01-01 BC'",
        "'0001-01-01'",
        "'9999-12-31'",
        "null",
    ],
    "bigint": ["9223372036854775807", "-9223372036854775808", "null"],
    "integer": ["2147483647", "-2147483648", "null"],
    "double precision": ["'NaN'", "'infinity'", "-1", "null"],
    "text": [
        "''",
        "repeat('x', 2048)",
        r"E'a\r\nB: c'",
        r"""'"\€'""",
        "'http://[::1'",
        "'javascript:x'",
        "null",
    ],
    "bytea": ["''", "'\\x00'", "'\\xffffffffffffffffffffffffffffffffffffffff'", "secret_sealed", "null"],
    "boolean": ["true", "false", "null"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "gen_random_uuid()", "null"],
    "json": ["'[]'", "null"],
    "ARRAY": ["'{}'", "'{null}'", "array[array[ELEMENT], array[ELEMENT]]", "null"],
}
_ELEMENTS = {"_text": "'x'", "_uuid": "gen_random_uuid()", "_int4": "100", "_int8": "7"}


@pytest.fixture
async def good(connection: Connection, settings: Settings, receiver: Receiver) -> Webhook:
    async def answer(arrival: Arrival) -> web.StreamResponse:
        return web.Response(status=200 if arrival.path in {"/good", "/well"} else 500)

    receiver.answer = answer
    return await add_webhook(connection, settings, f"{receiver.url}/good", [TYPE])


async def _corruptions(connection: Connection, table: str) -> AsyncIterator[str]:
    """`column = value`, for each value to try."""
    columns = await connection.fetch(
        "select column_name, data_type, udt_name from information_schema.columns"
        " where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER' order by ordinal_position",
        table,
    )
    assert columns
    for column in columns:
        values = VALUES[column["data_type"]]
        for value in values:
            if value == "secret_sealed" and table != "webhooks":
                continue
            yield f"{column['column_name']} = {value.replace('ELEMENT', _ELEMENTS.get(column['udt_name'], ''))}"


async def _corrupt(connection: Connection, table: str, change: str, key: str, *values: object) -> bool:
    """Whether PostgreSQL accepted it."""
    try:
        async with connection.transaction():
            return await connection.execute(f"update {table} set {change} where {key}", *values) == "UPDATE 1"
    except (
        asyncpg.DataError,
        asyncpg.IntegrityConstraintViolationError,
        asyncpg.ProgramLimitExceededError,
        asyncpg.DatatypeMismatchError,
        asyncpg.FeatureNotSupportedError,
        asyncpg.GeneratedAlwaysError,
    ):
        return False


async def _all_is_well(connection: Connection, receiver: Receiver, good: Webhook, events: list[object]) -> None:
    await receiver.wait_for(
        lambda: {str(event) for event in events} <= {one.event_id for one in receiver.arrivals if one.path == "/good"}
    )

    async def recorded() -> bool:
        found = await connection.fetchval(
            "select count(distinct event_id) from attempts where webhook_id = $1 and outcome = 'success' and event_id = any ($2)",
            good.id,
            events,
        )
        return bool(found == len(events))

    await until(recorded, "what was delivered is recorded")


def _brisk(settings: Settings) -> Settings:
    return settings.model_copy(update={"relay_poll_interval": 200})


async def test_no_column_of_a_webhook_stops_others(
    connection: Connection,
    settings: Settings,
    database_url: str,
    receiver: Receiver,
    good: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = {}
    for table, key in (("webhooks", "id"), ("receiver_health", "webhook_id"), ("users", "id")):
        async for change in _corruptions(connection, table):
            path = "/well" if table == "webhooks" else "/ill"
            bad = await add_webhook(connection, settings, receiver.url + path, [TYPE], max_retries=0)
            which = bad.id
            if table == "users":
                which = await connection.fetchval("select owner_id from webhooks where id = $1", bad.id)
            if await _corrupt(connection, table, change, f"{key} = $1", which):
                taken[bad.id] = f"{table}: {change}"
            else:
                await connection.execute("update webhooks set active = false where id = $1", bad.id)
    assert len(taken) > 60
    async with relaying(connection, _brisk(settings), database_url, monkeypatch):
        events: list[object] = [await write_event(connection, routed=True) for _ in range(2)]
        await _all_is_well(connection, receiver, good, events)
        # Once more, with the results of the first events.
        events = [await write_event(connection, routed=True)]
        await _all_is_well(connection, receiver, good, events)

        async def ended() -> bool:
            """Whether no delivery is due to a webhook that can be sent to."""
            return not await connection.fetchval(
                "select exists (select from deliveries as d join webhooks as w on w.id = d.webhook_id"
                " join users as u on u.id = w.owner_id join receiver_health as l on l.webhook_id = w.id"
                " where w.active and w.deleted_at is null and u.status = 'active' and d.position > w.discard_through"
                " and d.next_attempt_at <= now() and l.opened_at is null and (l.paused_until is null or l.paused_until <= now())"
                " and (l.probe_until is null or l.probe_until <= now()))"
            )

        await until(ended, "each bad row has come to an end")
    assert await connection.fetchval("select count(*) from set_aside") == 0
    why = await connection.fetch(
        "select webhook_id, error from attempts where outcome = 'failed' and webhook_id = any ($1)", list(taken)
    )
    assert all(row["error"] for row in why)
    sealed = {row["webhook_id"] for row in why if "cannot sign" in row["error"]}
    assert {taken[webhook_id].partition(" =")[0] for webhook_id in sealed} == {
        "webhooks: secret_sealed",
        "webhooks: headers_sealed",
        # A sealed value opens only with its own webhook's id.
        "webhooks: id",
    } - ({"webhooks: id"} if not any(change.startswith("webhooks: id") for change in taken.values()) else set())


async def test_no_column_of_a_delivery_or_its_event_stops_others(
    connection: Connection,
    settings: Settings,
    database_url: str,
    receiver: Receiver,
    good: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = RelayLog(connection)
    taken = {}
    for table in ("deliveries", "events", "item_orders"):
        async for change in _corruptions(connection, table):
            bad = await add_webhook(
                connection,
                settings,
                f"{receiver.url}/ill",
                [TYPE],
                max_retries=1,
                ordering="item" if table == "item_orders" else None,
                on_failure="skip" if table == "item_orders" else None,
            )
            event = await log.event(bad.id)
            if table == "item_orders":
                await connection.execute(
                    "insert into item_orders (webhook_id, item_id, sequence, head) values ($1, gen_random_uuid(), 1, 1)",
                    bad.id,
                )
                await connection.execute(
                    "update deliveries set sequence = 1, item_id = (select item_id from item_orders where webhook_id = $1)"
                    " where webhook_id = $1",
                    bad.id,
                )
            key, value = ("position = $1", event.position) if table == "events" else ("webhook_id = $1", bad.id)
            if await _corrupt(connection, table, change, key, value):
                taken[bad.id] = f"{table}: {change}"
            else:
                await connection.execute("delete from deliveries where webhook_id = $1", bad.id)
            if table != "item_orders":
                # These webhooks do not get the event that all others get.
                await connection.execute("update webhooks set events = '{item-deleted}' where id = $1", bad.id)
    assert len(taken) > 50
    held = [(await log.event(good.id)).id for _ in range(3)]
    async with relaying(connection, _brisk(settings), database_url, monkeypatch):
        events: list[object] = [*held, await write_event(connection, routed=True), await write_event(connection)]
        await _all_is_well(connection, receiver, good, events)

        async def ended() -> bool:
            """Whether no delivery is due, except under a lease that holds. A delivery whose
            position is before the log counts as discarded, and expires."""
            return not await connection.fetchval(
                "select exists (select from deliveries as d join webhooks as w on w.id = d.webhook_id"
                " where d.position > w.discard_through and d.next_attempt_at <= now() and (d.lease_until is null or d.lease_until <= now()))"
            )

        await until(ended, "each bad row has come to an end")
        await _all_is_well(connection, receiver, good, [await write_event(connection, routed=True)])
    assert await connection.fetchval("select count(*) from set_aside") == 0
    assert await connection.fetchval(
        "select bool_and(error is not null) from attempts where outcome in ('failed', 'retry')"
    )


async def test_no_column_of_an_event_in_the_outbox_stops_others(
    connection: Connection,
    settings: Settings,
    database_url: str,
    receiver: Receiver,
    good: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = {}
    for routed in (False, True):
        async for change in _corruptions(connection, "outbox"):
            if change.startswith("seq ="):
                # The column is always generated.
                continue
            event_id = await write_event(connection, routed=routed)
            if not await _corrupt(connection, "outbox", change, "id = $1", event_id):
                await connection.execute("delete from outbox where id = $1", event_id)
            else:
                taken[event_id] = change
    assert len(taken) > 20
    # A row with the same number was set aside before the sequence was set back.
    await connection.execute(
        "insert into set_aside (seq, id, type, data, occurred_at, written_at, reason)"
        " select seq, uuidv7(), type, data, occurred_at, written_at, 'an older one' from outbox"
    )
    event_id = await write_event(connection, routed=True)
    async with relaying(connection, _brisk(settings), database_url, monkeypatch):
        await _all_is_well(connection, receiver, good, [event_id])
    assert await connection.fetchval("select count(*) from outbox") == 0
    assert await connection.fetchval("select count(*) from set_aside where reason = ''") == 0


@pytest.mark.parametrize("table", ["relays", "webhook_tests", "replay_jobs"])
async def test_no_column_of_what_relays_are_asked_stops_them(
    table: str,
    connection: Connection,
    settings: Settings,
    database_url: str,
    receiver: Receiver,
    good: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = {
        "relays": "insert into relays (id, version, host, pid, seen_at) values (gen_random_uuid(), '0', 'x', 0,"
        " now() - interval '1 hour') returning id",
        "webhook_tests": f"insert into webhook_tests (webhook_id, expires_at) values ('{good.id}', now() + interval '1 minute')"
        " returning id",
        "replay_jobs": f"insert into replay_jobs (webhook_id, since, until, wanted, position, through) values ('{good.id}',"
        " now() - interval '1 day', now() + interval '1 day', 'all', 0, 1) returning id",
    }
    taken = 0
    async for change in _corruptions(connection, table):
        row_id = await connection.fetchval(rows[table])
        if await _corrupt(connection, table, change, "id = $1", row_id):
            taken += 1
        else:
            await connection.execute(f"delete from {table} where id = $1", row_id)
    assert taken > 10
    async with relaying(connection, _brisk(settings), database_url, monkeypatch):
        for _ in range(2):
            await _all_is_well(connection, receiver, good, [await write_event(connection, routed=True)])
        if table == "replay_jobs":

            async def ended() -> bool:
                return not await connection.fetchval(
                    "select exists (select from replay_jobs where state in ('queued', 'running'))"
                )

            await until(ended, "each job has ended")
