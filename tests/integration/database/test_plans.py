"""The relay's statements keep to their indexes while statistics are stale: the pages that they read
do not grow with the tables."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from relay.record.record import attempt_result
from relay.record.result import Lease, Result
from relay.rules.policy import Decision
from relay.transport import Exchange
from relay.watch.database import open_queues
from service.delivery.subject import columns, subject_of
from service.platform.queries import Connection, Statement, load
from service.platform.settings import Settings
from tests.support.query_plans import nodes
from tests.support.rows import add_user, add_webhook

CLAIM, RECORD, LEASES, FANOUT = load("claim"), load("record"), load("leases"), load("fanout")
LANES = 100
ROWS = 200
SMALL, LARGE = 20_000, 200_000
Values: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
QUEUES = {"deliveries", "events", "attempts"}
# With these settings the server also logs the plans of statements inside functions, until the
# transaction ends.
LOG_INNER = """
load 'auto_explain';
set local auto_explain.log_min_duration = 0;
set local auto_explain.log_nested_statements = on;
set local auto_explain.log_format = json;
set local client_min_messages = log;
"""


@pytest.fixture
async def relay_connection(database_url: str, settings: Settings) -> AsyncIterator[Connection]:
    """A connection as relays open it. The tables were analysed while they were empty, and are not
    analysed again."""
    pool = await open_queues(database_url)
    async with pool.acquire() as connection:
        for table in ("deliveries", "receiver_health", "webhooks", "relays"):
            await connection.execute(f"alter table {table} set (autovacuum_enabled = off)")
        for row in await connection.fetch(
            "select inhrelid::regclass::text as name from pg_inherits join pg_class on oid = inhrelid"
            " where relkind = 'r'"
        ):
            await connection.execute(f"alter table {row['name']} set (autovacuum_enabled = off)")
        yield connection
    await pool.close()


@pytest.fixture
async def lanes(relay_connection: Connection, settings: Settings) -> list[UUID]:
    owner = await add_user(relay_connection)
    return [
        (await add_webhook(relay_connection, settings, "http://127.0.0.1:9", ["item-created"], owner_id=owner)).id
        for _ in range(LANES)
    ]


async def _grow(connection: Connection, lanes: Sequence[UUID], rows: int) -> None:
    """Add this many events. Each is owed to one of the lanes and has had an attempt. One relay is
    alive and one is gone."""
    await connection.execute(
        """with event as (
             insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, deliveries)
             select position + n, uuidv7(), position + n, 'item-created', '{"name":"x"}', now(), 'inventory', '{}', '{}', 1
               from log_head, generate_series(1, $2::int) as n
             returning position, id, recorded_at
           ), head as (
             update log_head set position = position + $2
           ), attempt as (
             insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, next_attempt_at)
             select ($1::uuid[])[1 + position % $3], position, id, 'item-created', recorded_at, 1, 'retry', now() from event
           )
           insert into deliveries (webhook_id, position, event_id, event_type, event_at, next_attempt_at)
           select ($1::uuid[])[1 + position % $3], position, id, 'item-created', recorded_at, now() - interval '1 minute'
             from event""",
        list(lanes),
        rows,
        len(lanes),
    )


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, list):
        inner = ",".join(
            "null" if each is None else json.dumps(_row(each) if isinstance(each, tuple) else str(each))
            for each in value
        )
        return f"'{{{inner}}}'"
    return f"'{value}'"


def _row(values: tuple[Any, ...]) -> str:
    """A composite value. None of these values has a backslash or bytes."""
    return "(" + ",".join("" if value is None else json.dumps(str(value)) for value in values) + ")"


class Plan:
    """The plan of a statement, with those of the statements in its functions. Their pages count as
    the statement's."""

    def __init__(self, root: dict[str, Any], inner: Sequence[dict[str, Any]]) -> None:
        self.root = root
        self.inner = inner
        self.buffers = root["Shared Hit Blocks"] + root["Shared Read Blocks"]

    def scanned_whole(self) -> set[str]:
        """Tables of the queue and the logs that are read from end to end, or by a bitmap."""
        found: set[str] = set()
        for node in chain.from_iterable(map(nodes, (self.root, *self.inner))):
            if node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan"):
                # A partition of a log is named after it.
                found.add(node["Relation Name"].partition("_2")[0])
        return found & QUEUES


async def _explain(connection: Connection, statement: Statement, prepare: Values) -> Plan:
    """Explains the statement, prepared as a relay would. It is rolled back together with its
    preparation."""
    inner: list[dict[str, Any]] = []

    def logged(_: Any, message: Any) -> None:
        _, found, plan = message.message.partition(" ms  plan:\n")
        if found:
            inner.append(json.loads(plan)["Plan"])

    transaction = connection.transaction()
    await transaction.start()
    connection.add_log_listener(logged)
    try:
        arguments = ", ".join(_literal(value) for value in statement.arguments(await prepare()))
        await connection.execute(f"prepare explained as {statement.sql}")
        await connection.execute(LOG_INNER)
        text = await connection.fetchval(f"explain (analyze, buffers, format json) execute explained({arguments})")
    finally:
        await transaction.rollback()
        connection.remove_log_listener(logged)
        await connection.execute("deallocate explained")
    return Plan(json.loads(text)[0]["Plan"], inner)


async def _claim(
    connection: Connection, lanes: list[UUID], relay_id: UUID, *, suspects: bool = False
) -> list[asyncpg.Record]:
    return await CLAIM.claim.fetch(connection, **_claim_values(lanes, relay_id, suspects=suspects))


def _claim_values(lanes: list[UUID], relay_id: UUID, *, suspects: bool = False) -> dict[str, Any]:
    return {
        "relay_id": relay_id,
        "webhook_ids": lanes,
        "shares": [ROWS // LANES] * len(lanes),
        "floors": [None] * len(lanes),
        "most": ROWS,
        "suspects": suspects,
        "now": None,
    }


async def _register(connection: Connection) -> UUID:
    relay_id: UUID = await connection.fetchval(
        "insert into relays (id, version, host, pid) values (gen_random_uuid(), '0', 'here', 1) returning id"
    )
    return relay_id


def _results(rows: list[asyncpg.Record], outcome: str, relay_id: UUID) -> dict[str, Any]:
    """The parameters that the recorder would pass."""
    decision = Decision("retry", 1000) if outcome == "retry" else Decision("success")
    exchange = Exchange(status=200, total_us=1000)
    leases = [Lease(*(row[name] for name in Lease._fields)) for row in rows]
    results = [Result(lease, decision, None, exchange, started_at=datetime.now(UTC)) for lease in leases]
    return {"relay_id": relay_id, "results": [attempt_result(result) for result in results]}


async def test_no_statement_touches_more_in_a_large_queue(relay_connection: Connection, lanes: list[UUID]) -> None:
    connection = relay_connection
    relay_id = await _register(connection)

    async def to_claim() -> dict[str, Any]:
        return _claim_values(lanes, relay_id)

    async def to_rescue() -> dict[str, Any]:
        gone = await _register(connection)
        assert len(await _claim(connection, lanes, gone)) == ROWS
        await connection.execute("delete from relays where id = $1", gone)
        return _claim_values(lanes, relay_id)

    async def to_complete() -> dict[str, Any]:
        return _results(await _claim(connection, lanes, relay_id), "success", relay_id)

    async def to_retry() -> dict[str, Any]:
        return _results(await _claim(connection, lanes, relay_id), "retry", relay_id)

    async def to_give_back() -> dict[str, Any]:
        held = [row["fence"] for row in await _claim(connection, lanes, relay_id)]
        return {"relay_id": relay_id, "webhook_ids": lanes, "held": held[1:], "most": 50}

    async def to_read() -> dict[str, Any]:
        await connection.execute(
            """insert into outbox (type, data) select 'item-created', '{"name":"x"}' from generate_series(1, 10)"""
        )
        return {"batch": 10}

    async def to_route() -> dict[str, Any]:
        rows = await FANOUT.read_stuck.fetch(connection, **await to_read())
        subjects = [subject_of(row["type"], row["data"], None) for row in rows]
        seqs, datas = [row["seq"] for row in rows], [subject.data for subject in subjects]
        return {"seqs": seqs, "datas": datas, **columns(subjects)}

    async def to_fan_out() -> dict[str, Any]:
        await connection.execute(
            """insert into outbox (type, data, audience, location_ids, user_ids)
               select 'item-created', '{"name":"x"}', 'inventory', '{}', '{}' from generate_series(1, 10)"""
        )
        return {
            "batch": 10,
            "few": 3,
            "patience_ms": 0,
            "release_first": False,
            "sleep_if_idle": True,
            "class_id": 0,
            "object_id": 0,
            "relay_id": relay_id,
            "most": 50,
            "per_webhook": 5,
            "crowded": lanes[:10],
        }

    async def to_fan_out_few() -> dict[str, Any]:
        values = await to_fan_out()
        await connection.execute("delete from outbox where seq not in (select seq from outbox order by seq limit 3)")
        return values | {"patience_ms": 3}

    async def to_find_suspects() -> dict[str, Any]:
        await connection.execute(
            "update deliveries set lost_leases = 5"
            " where (webhook_id, position) in (select webhook_id, position from deliveries limit 20)"
        )
        return {"now": None}

    async def to_sweep() -> dict[str, Any]:
        return {"after": UUID(int=0), "most": 200, "now": None}

    cases: dict[str, tuple[Statement, Values]] = {
        "read": (FANOUT.read_stuck, to_read),
        "route": (FANOUT.route, to_route),
        "fan-out": (FANOUT.fan_out, to_fan_out),
        "fan-out one by one": (FANOUT.fan_out, to_fan_out_few),
        "claim": (CLAIM.claim, to_claim),
        "rescue": (CLAIM.claim, to_rescue),
        "completion": (RECORD.record, to_complete),
        "retry": (RECORD.record, to_retry),
        "give back": (LEASES.give_back_unconfirmed, to_give_back),
        "suspects": (CLAIM.suspects, to_find_suspects),
        "sweep": (CLAIM.sweep, to_sweep),
    }
    # The state in which autovacuum finds a queue that has just run empty: pages without rows.
    await _grow(connection, lanes, 1000)
    await connection.execute("truncate events, attempts")
    await connection.execute("delete from deliveries")
    await connection.execute(
        "insert into outbox (type, data) select 'item-created', '{}' from generate_series(1, 1000)"
    )
    await connection.execute("delete from outbox")
    for table in ("deliveries", "outbox", "events", "attempts"):
        await connection.execute(f"vacuum (analyze, truncate off) {table}")
    await _grow(connection, lanes, SMALL)
    small = {name: await _explain(connection, *case) for name, case in cases.items()}
    await _grow(connection, lanes, LARGE - SMALL)
    large = {name: await _explain(connection, *case) for name, case in cases.items()}

    assert {name: plan.scanned_whole() for name, plan in large.items() if plan.scanned_whole()} == {}
    # An index may have become one level deeper.
    grown = {
        name: (small[name].buffers, plan.buffers)
        for name, plan in large.items()
        if plan.buffers > small[name].buffers * 1.5 + 100
    }
    assert grown == {}
