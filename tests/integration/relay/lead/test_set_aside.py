"""Outbox rows that cannot be fanned out are set aside, and no other rows are."""

import json
from typing import Any

import asyncpg
import pytest

from relay.claim.slots import Offer
from relay.lead.batch import Batch
from relay.lead.fanout import FanOut
from service.platform.db import Pool
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.relay.fan_out import BOTH_WAYS, drain, queued
from tests.support.rows import NOWHERE, add_webhook, write_event

SET_ASIDE = {
    "a float": ('{"price": 1.50}', "data.price is a number that is not an integer"),
    "an integer that JavaScript rounds": ('{"n": 9007199254740993}', "data.n is an integer beyond ±2^53"),
    "an integer beyond 64 bits": ('{"n": 123456789012345678901234567890}', "data.n is a number that is not an integer"),
    "a key that JavaScript moves": ('{"b": 1, "7": 2}', "the key '7', which JavaScript moves or drops"),
    "a key that JavaScript drops": ('{"__proto__": {}}', "the key '__proto__'"),
    "U+0000 in a value": (r'{"name": "a\u0000b"}', "holds U+0000"),
    "a lone surrogate": (r'{"name": "\ud800"}', "data is not JSON"),
    "a location that is no id": ('{"location_id": "shelf 3"}', "data.location_id is not an id"),
    "a location that is no text": ('{"location_id": 3}', "data.location_id is not an id"),
    "a user that is no id": ('{"userId": "bob"}', "data.userId is not an id"),
    "a stock that is no integer": ('{"currentStock": "3"}', "data.currentStock is not an integer"),
    "nesting that no parser likes": ('{"a":' + "[" * 500 + "]" * 500 + "}", "nested more than 64 deep"),
}


@pytest.mark.parametrize("what", SET_ASIDE)
async def test_a_row_that_cannot_be_fanned_out_is_set_aside_and_stops_nothing(
    what: str, connection: Connection, settings: Settings, pool: Pool
) -> None:
    data, reason = SET_ASIDE[what]
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    before = await write_event(connection)
    bad = await write_event(connection, data=data)
    after = await write_event(connection)
    await drain(pool)
    assert await connection.fetchval("select count(*) from outbox") == 0
    assert await queued(connection) == {(webhook.id, before), (webhook.id, after)}
    kept = await connection.fetchrow("select id, data, reason from set_aside")
    assert kept is not None
    assert (kept["id"], kept["data"]) == (bad, data)
    assert reason in kept["reason"]
    assert [row[0] for row in await connection.fetch("select position from events order by position")] == [1, 2]


@pytest.mark.parametrize("routed", BOTH_WAYS)
async def test_an_id_that_the_log_has_already_is_set_aside(connection: Connection, pool: Pool, routed: bool) -> None:
    event_id = await write_event(connection)
    await drain(pool)
    again = await write_event(connection, routed=routed)
    await connection.execute("update outbox set id = $1 where id = $2", event_id, again)
    await drain(pool)
    assert await connection.fetchval("select count(*) from events") == 1
    assert "is in the log already" in await connection.fetchval("select reason from set_aside")


async def test_a_row_that_only_the_statement_refuses_is_found_by_halving(connection: Connection, pool: Pool) -> None:
    # This added constraint stands for any fault that the checks before the statement do not find.
    await connection.execute("alter table events add constraint no_bad check (data not like '%bad%')")
    ids = [
        await write_event(connection, data=json.dumps({"n": n, "x": "bad" if n in (3, 7) else "fine"}))
        for n in range(9)
    ]
    await drain(pool)
    log = [row["id"] for row in await connection.fetch("select id from events order by position")]
    assert log == [event_id for n, event_id in enumerate(ids) if n not in (3, 7)]
    aside = await connection.fetch("select id, reason from set_aside order by seq")
    assert [row["id"] for row in aside] == [ids[3], ids[7]]
    assert all("no_bad" in row["reason"] for row in aside)


async def test_an_older_row_that_commits_while_the_refused_one_is_sought_is_not_taken_for_it(
    connection: Connection, pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connection.execute("alter table events add constraint no_bad check (data not like '%bad%')")
    slow = await asyncpg.connect(database_url)
    transaction = slow.transaction()
    await transaction.start()
    older = await write_event(slow, routed=True)
    bad = await write_event(connection, data='{"x":"bad"}', routed=True)
    refused = FanOut._oldest
    tries = []

    async def commit_as_it_is_refused(self: FanOut, limit: int, offer: Offer, **looking: Any) -> Batch:
        try:
            return await refused(self, limit, offer, **looking)
        except asyncpg.CheckViolationError:
            tries.append(limit)
            if limit == 1 and tries.count(1) == 1:
                await transaction.commit()
            raise

    monkeypatch.setattr(FanOut, "_oldest", commit_as_it_is_refused)
    await drain(pool)
    await slow.close()
    assert [row["id"] for row in await connection.fetch("select id from events")] == [older]
    assert [row["id"] for row in await connection.fetch("select id from set_aside")] == [bad]


async def test_what_is_not_the_rows_fault_sets_nothing_aside(connection: Connection, pool: Pool) -> None:
    await write_event(connection)
    partitions = await connection.fetch(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'events'::regclass"
    )
    for (name,) in partitions:
        await connection.execute(f"drop table {name}")
    with pytest.raises(asyncpg.CheckViolationError, match="no partition"):
        await drain(pool)
    assert await connection.fetchval("select count(*) from outbox") == 1
    assert await connection.fetchval("select count(*) from set_aside") == 0
    await connection.execute("select make_partitions(1)")
    await drain(pool)
    assert await connection.fetchval("select count(*) from events") == 1


async def test_without_a_head_of_the_log_nothing_is_lost_or_set_aside(connection: Connection, pool: Pool) -> None:
    event_id = await write_event(connection, routed=True)
    position = await connection.fetchval("delete from log_head returning position")
    with pytest.raises(asyncpg.NotNullViolationError, match="position"):
        await drain(pool)
    assert await connection.fetchval("select count(*) from set_aside") == 0
    await connection.execute("insert into log_head (position) values ($1)", position)
    await drain(pool)
    assert await connection.fetchval("select id from events") == event_id
