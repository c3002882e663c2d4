"""Partitions are known by their bounds. A partition that cannot be made or dropped does not hold up
the others, and is logged once."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from relay.lead import partitions
from relay.lead.partitions import Partitions
from service.platform.db import Pool
from tests.support.database import Connection
from tests.support.relay.log import RelayLog

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
TTL = 30 * 86_400


async def _names(connection: Connection, parent: str = "attempts") -> set[str]:
    rows = await connection.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = $1::regclass", parent
    )
    return {row["name"] for row in rows}


def _bounds(day: datetime) -> str:
    return f"for values from ('{day:%Y-%m-%d} 00:00+0') to ('{day + timedelta(days=1):%Y-%m-%d} 00:00+0')"


async def test_what_no_day_can_be_read_from_is_left_alone_and_the_rest_is_dropped(
    connection: Connection, queues: Pool
) -> None:
    old = [TODAY - timedelta(days=40 + n) for n in range(5)]
    await connection.execute(f"""
        create table attempts_default partition of attempts default;
        create table events_default partition of events default;
        create table attempts_20200101 partition of attempts for values from (minvalue) to ('2019-01-01');
        create table "an odd Name" partition of attempts {_bounds(old[0])};
        create table attempts_00000000 partition of attempts {_bounds(old[1])};
        create schema elsewhere;
        create table elsewhere.attempts_x partition of attempts {_bounds(old[2])};
        create table attempts_99991231 partition of attempts {_bounds(old[3])} partition by range (recorded_at);
        create extension file_fdw;
        create server files foreign data wrapper file_fdw;
        create foreign table attempts_foreign partition of attempts {_bounds(old[4])} server files options (filename '/dev/null');
        create table events_old partition of events {_bounds(old[1])};
        insert into attempts_default (webhook_id, position, event_id, event_type, event_at, attempt, outcome, recorded_at)
        values (gen_random_uuid(), 1, gen_random_uuid(), 'item-created', '{old[1]}', 1, 'success', '{TODAY - timedelta(days=60)}');
    """)
    housekeeping = Partitions(queues, TTL)
    with capture_logs() as logs:
        for _ in range(2):
            await housekeeping.drop()
    dropped = [line["dropped"] for line in logs if line["event"] == "dropped a partition"]
    assert sorted(dropped) == [
        '"an odd Name"',
        "attempts_00000000",
        "attempts_20200101",
        "attempts_99991231",
        "elsewhere.attempts_x",
        "events_old",
    ]
    left = [line["reason"] for line in logs if line["event"] == "a partition is left as it is"]
    assert sorted(left) == [
        "retention leaves attempts_default alone: it is a partition without an end",
        "retention leaves attempts_foreign alone: it is no table of this database",
        "retention leaves events_default alone: it is a partition without an end",
    ]
    assert await connection.fetchval("select count(*) from attempts_default") == 1


async def test_one_that_cannot_be_dropped_does_not_keep_the_others(connection: Connection, queues: Pool) -> None:
    log = RelayLog(connection)
    days = [TODAY - timedelta(days=42 - n) for n in range(3)]
    for day in days:
        await log.partition(day)
    await connection.execute(f"create view needed as select from attempts_{days[0]:%Y%m%d}")
    with capture_logs() as logs:
        await Partitions(queues, TTL).drop()
    names = await _names(connection)
    assert f"attempts_{days[0]:%Y%m%d}" in names
    assert not names & {f"attempts_{day:%Y%m%d}" for day in days[1:]}
    (left,) = [line["reason"] for line in logs if line["event"] == "a partition is left as it is"]
    assert left.startswith(f"retention leaves attempts_{days[0]:%Y%m%d} alone: ")


async def test_one_that_is_locked_does_not_keep_the_others_and_is_tried_again(
    connection: Connection, queues: Pool
) -> None:
    log = RelayLog(connection)
    days = [TODAY - timedelta(days=42 - n) for n in range(2)]
    for day in days:
        await log.partition(day)
    async with connection.transaction():
        await connection.execute(f"lock table attempts_{days[0]:%Y%m%d} in access share mode")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await Partitions(queues, TTL).drop()
        names = await _names(connection)
        assert f"attempts_{days[0]:%Y%m%d}" in names
        assert f"attempts_{days[1]:%Y%m%d}" not in names
    await Partitions(queues, TTL).drop()
    assert f"attempts_{days[0]:%Y%m%d}" not in await _names(connection)


async def test_a_day_that_cannot_be_made_does_not_keep_the_others(
    connection: Connection, queues: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "DAYS_AHEAD", 12)
    taken, covered, in_default = (TODAY + timedelta(days=n) for n in (9, 10, 11))
    await connection.execute(f"""
        create table attempts_{taken:%Y%m%d} ();
        create table a_day_of_somebody partition of attempts {_bounds(covered)};
        create table attempts_default partition of attempts default;
        insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome, recorded_at)
        values (gen_random_uuid(), 1, gen_random_uuid(), 'item-created', now(), 1, 'success', '{in_default}');
    """)
    housekeeping = Partitions(queues, TTL)
    with capture_logs() as logs:
        for _ in range(2):
            await housekeeping.make()
    names = await _names(connection)
    assert {f"attempts_{TODAY + timedelta(days=8):%Y%m%d}", f"attempts_{taken:%Y%m%d}_"} <= names
    assert f"attempts_{TODAY + timedelta(days=12):%Y%m%d}" in names
    assert not {f"attempts_{covered:%Y%m%d}", f"attempts_{in_default:%Y%m%d}"} & names
    assert f"events_{in_default:%Y%m%d}" in await _names(connection, "events")
    (left,) = [line["reason"] for line in logs if line["event"] == "a partition is left as it is"]
    assert left.startswith(f"no partition of attempts is made for {in_default:%Y-%m-%d}: ")


async def test_a_missing_day_is_made_as_soon_as_its_lock_is_to_be_had(connection: Connection, queues: Pool) -> None:
    await connection.execute(f"drop table attempts_{TODAY + timedelta(days=7):%Y%m%d}")
    async with connection.transaction():
        await connection.execute("lock table attempts in share update exclusive mode")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await Partitions(queues, TTL).make()
    await Partitions(queues, TTL).make()
    assert f"attempts_{TODAY + timedelta(days=7):%Y%m%d}" in await _names(connection)
