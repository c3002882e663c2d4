"""Migrations of a database that already has rows."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from relay.lead.fanout import FanOut
from service.platform import migrate
from service.platform.errors import StartupError
from service.platform.ids import new_id
from tests.support.database import Connection


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(empty_database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


async def _migrate_to(connection: Connection, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known = tuple(migration for migration in migrate.migrations() if migration.version <= version)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migrations", lambda: known)
        # The functions and views fit the last migration, and not an earlier one.
        patch.setattr(migrate, "definitions", lambda: ())
        await migrate.migrate(connection)


async def test_events_of_a_time_that_no_relay_can_read_are_set_aside_and_the_others_stay(
    empty: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _migrate_to(empty, 20, monkeypatch)
    for moment in ("10000-01-01", "0001-12-31 BC", "9999-12-31 23:59:59", "0001-01-01"):
        await empty.execute(
            "insert into outbox (type, data, occurred_at) values ('item-created', '{}', $1::text::timestamptz)", moment
        )
    await migrate.migrate(empty)
    apart = await empty.fetch("select occurred_at::text, reason from set_aside order by seq")
    assert [row["occurred_at"] for row in apart] == ["10000-01-01 00:00:00+00", "0001-12-31 00:00:00+00 BC"]
    assert {row["reason"] for row in apart} == {"occurred_at is not within the years 1 to 9999"}
    left = await empty.fetch("select occurred_at::text from outbox order by seq")
    assert [row[0] for row in left] == ["9999-12-31 23:59:59+00", "0001-01-01 00:00:00+00"]
    with pytest.raises(asyncpg.CheckViolationError, match="outbox_occurred_at_check"):
        await empty.execute(
            "insert into outbox (type, data, occurred_at) values ('item-created', '{}', timestamptz '10000-01-01 UTC')"
        )


async def test_an_open_transfer_whose_requester_was_removed_before_can_still_come_to_its_end(
    empty: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _migrate_to(empty, 21, monkeypatch)
    insert = (
        "insert into transfers (item_id, from_location_id, to_location_id, quantity, requested_by)"
        " values ($1, $2, $3, 1, $4) returning id"
    )
    transfer = await empty.fetchval(insert, *(new_id() for _ in range(4)))
    await migrate.migrate(empty)
    for status, came_from in (("approved", "pending"), ("cancelled", "approved")):
        await empty.execute(
            "update transfers set status = $2, came_from = $3, approved_by = $4, approved_at = now(),"
            " cancelled_by = $5, cancelled_at = case when $5::uuid is not null then now() end where id = $1",
            transfer,
            status,
            came_from,
            new_id(),
            new_id() if status == "cancelled" else None,
        )
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="transfers_open_requested_by_fkey"):
        await empty.fetchval(insert, *(new_id() for _ in range(4)))


async def test_a_migration_that_waits_for_a_table_keeps_nobody_from_it(
    empty: Connection, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _migrate_to(empty, 20, monkeypatch)
    monkeypatch.setattr(migrate, "LOCK_PAUSE_SECONDS", 0.05)
    migrator, writer = [await asyncpg.connect(empty_database_url) for _ in range(2)]
    async with empty.transaction():
        # For example a dump.
        await empty.fetch("select from outbox")
        migrating = asyncio.create_task(migrate.migrate(migrator))
        for _ in range(20):
            await writer.execute("insert into outbox (type, data) values ('item-created', '{}')", timeout=10)
            await asyncio.sleep(0.05)
        assert not migrating.done()
    assert next(migration.version for migration in (await migrating).migrations) == 21
    for connection in (migrator, writer):
        await connection.close()


async def test_events_that_the_version_before_has_written_and_still_writes_are_fanned_out_in_their_order(
    empty: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _migrate_to(empty, 22, monkeypatch)
    ids = [new_id() for _ in range(4)]
    insert = (
        "insert into outbox (id, type, data, occurred_at, location_ids, traceparent)"
        " values ($1, 'item-created', '{}', clock_timestamp(), $2, null)"
    )
    await empty.execute(insert, ids[0], None)
    await empty.execute(insert, ids[1], [new_id()])
    await migrate.migrate(empty)
    # An API of the previous version, beside a relay of this one.
    await empty.execute(insert, ids[2], [new_id()])
    await empty.execute(insert, ids[3], None)
    assert (await FanOut(empty).batch()).events == 4
    log = await empty.fetch("select id, audience from events order by position")
    assert [row["id"] for row in log] == ids
    assert {row["audience"] for row in log} == {"inventory"}


async def test_a_migration_that_gets_no_lock_in_time_says_so_and_can_be_run_again(
    empty: Connection, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _migrate_to(empty, 20, monkeypatch)
    monkeypatch.setattr(migrate, "LOCK_WAIT_SECONDS", 1)
    migrator = await asyncpg.connect(empty_database_url)
    async with empty.transaction():
        await empty.fetch("select from outbox")
        with pytest.raises(StartupError, match="migration 0021_bound_occurred_at got no lock"):
            await migrate.migrate(migrator)
    assert len((await migrate.migrate(migrator)).migrations) == len(migrate.migrations()) - 20
    await migrator.close()


async def test_a_migrator_that_is_cut_off_says_so(
    empty: Connection, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _migrate_to(empty, 20, monkeypatch)
    migrator = await asyncpg.connect(empty_database_url)
    async with empty.transaction():
        await empty.fetch("select from outbox")
        migrating = asyncio.create_task(migrate.migrate(migrator))
        await asyncio.sleep(0.1)
        await empty.execute("select pg_terminate_backend($1)", migrator.get_server_pid())
        with pytest.raises((StartupError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError)):
            await migrating
    await migrator.close(timeout=5)
    assert len((await migrate.migrate(empty)).migrations) == len(migrate.migrations()) - 20


async def test_a_role_that_may_not_do_what_a_migration_does_is_told_before_anything_is_done(
    empty: Connection, empty_database_url: str
) -> None:
    role = f"joss_{new_id().hex}"
    await empty.execute(f"create role {role}")
    migrator = await asyncpg.connect(empty_database_url)
    await migrator.execute(f"set role {role}")
    try:
        with pytest.raises(StartupError, match="this role may not create tables; grant it create on schema public"):
            await migrate.migrate(migrator)
        await empty.execute(f"grant create, usage on schema public to {role}")
        with pytest.raises(StartupError, match="this role may not create the extension pg_trgm"):
            await migrate.migrate(migrator)
        assert await empty.fetchval("select count(*) from pg_class where relnamespace = 'public'::regnamespace") == 0
        await empty.execute("create extension pg_trgm")
        await migrate.migrate(migrator)
    finally:
        await migrator.close()
        await empty.execute(f"drop owned by {role} cascade; drop role {role}")
