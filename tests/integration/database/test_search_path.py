"""Names in SQL mean the same table or function, whatever the search_path of the database, the role
or the session is."""

import subprocess
from pathlib import Path

import asyncpg
import pytest
from aiohttp.test_utils import TestClient, TestServer

from relay.lead.fanout import FanOut
from service.platform.db import connect
from service.platform.migrate import check_migrated, migrate
from service.platform.settings import Settings
from service.server.app import make_app
from tests.support.database import Connection
from tests.support.postgres.schema_catalog import catalog
from tests.support.postgres.shared_server import bin_dir
from tests.support.rows import add_webhook, write_event

# Tables of another program with our names, in a schema that is searched first.
HOSTILE = """
create schema app;
create table app.schema_migrations (version text);
create table app.users (id int);
create table app.webhooks (id int);
create table app.subscriptions (id int);
create table app.receiver_health (id int);
create table app.lane_wakes (id int);
create table app.outbox (id int);
create function app.ring() returns void language plpgsql as $$ begin raise exception 'not this one'; end $$;
create function app.now() returns timestamptz language plpgsql as $$ begin raise exception 'nor this one'; end $$;
create function app.uuid_time(uuid) returns timestamptz language plpgsql as $$ begin raise exception 'nor this one'; end $$;
"""
OF_APP = "select count(*) from pg_class where relnamespace = 'app'::regnamespace"


async def _make_hostile(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(HOSTILE)
        database = await connection.fetchval("select current_database()")
        await connection.execute(f"alter database {database} set search_path = app, public")
    finally:
        await connection.close()


async def test_a_migration_makes_the_same_whatever_the_databases_search_path(
    database_url: str, empty_database_url: str
) -> None:
    await _make_hostile(empty_database_url)
    # This is not a session of ours, so the migration must set its own search_path.
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("show search_path") == "app, public"
    before = await connection.fetchval(OF_APP)
    await migrate(connection)
    await check_migrated(connection)
    assert await connection.fetchval(OF_APP) == before
    await connection.close()
    assert await catalog(empty_database_url) == await catalog(database_url)


async def test_an_operator_class_in_another_schema_is_found(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("create schema extensions; create extension pg_trgm schema extensions")
    await migrate(connection)
    assert "extensions.gin_trgm_ops" in await connection.fetchval(
        "select pg_get_indexdef('item_texts_search'::regclass)"
    )
    await connection.close()


async def test_all_of_it_works_beside_another_programs_objects(
    settings: Settings, database_url: str, connection: Connection
) -> None:
    await _make_hostile(database_url)
    app = make_app(settings, database_url)
    async with TestClient(TestServer(app)) as api:
        new = {
            "username": "iris",
            "email": "iris@example.org",
            "full_name": "Iris",
            "password": "correct horse battery",
        }
        async with api.post("/api/v1/auth/register", json=new) as answer:
            assert answer.status == 201, await answer.text()
    webhook = await add_webhook(connection, settings, "http://127.0.0.1:1/", ["item-created"])
    session = await connect(database_url, application_name="test")
    # Events written as the API does, and as psql does.
    written = [await write_event(session, routed=routed) for routed in (True, False)]
    fanout = FanOut(session)
    while await fanout.anything():
        await fanout.batch()
    queued = await session.fetch("select event_id from deliveries where webhook_id = $1 order by position", webhook.id)
    assert [row["event_id"] for row in queued] == written
    await session.close()


async def test_psql_may_write_with_another_path(database_url: str, connection: Connection, settings: Settings) -> None:
    webhook = await add_webhook(connection, settings, "http://127.0.0.1:1/", ["item-created"])
    await _make_hostile(database_url)
    psql = await asyncpg.connect(database_url)
    await psql.execute("update public.webhooks set events = '{item-updated}' where id = $1", webhook.id)
    await psql.execute("insert into public.outbox (type, data) values ('item-updated', '{}')")
    await psql.execute("update public.users set role = 'worker' where id = (select owner_id from public.webhooks)")
    await psql.execute("delete from public.location_foremen")
    await psql.close()
    assert await connection.fetchval("select array_agg(event_type) from subscriptions") == ["item-updated"]


def _program(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(bin_dir() / name), *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr


async def _rows(url: str) -> dict[str, list[str]]:
    connection = await asyncpg.connect(url)
    tables = await connection.fetchval(
        "select array_agg(relname::text) from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition"
    )
    rows = {
        table: [row[0] for row in await connection.fetch(f"select t::text from public.{table} as t order by 1")]
        for table in tables
    }
    await connection.close()
    return rows


async def _fill(url: str, settings: Settings) -> None:
    session = await connect(url, application_name="test")
    await session.execute(
        """
        insert into locations (name) values ('Depot');
        insert into categories (name) values ('Tools');
        insert into items (name, quantity, location_id, category_id)
        select 'Drill', 3, locations.id, categories.id from locations, categories;
        """
    )
    await add_webhook(session, settings, "http://127.0.0.1:1/", ["item-created", "item-updated"])
    for _ in range(3):
        await write_event(session)
    await FanOut(session).batch()
    await write_event(session)
    await session.close()


@pytest.mark.parametrize("triggers", ["fire", "disabled"])
async def test_the_data_alone_can_be_restored_into_a_migrated_database(
    triggers: str, database_url: str, another_database_url: str, settings: Settings, tmp_path: Path
) -> None:
    """With triggers, which fill receiver_health and subscriptions themselves, or without, which
    needs a superuser."""
    await _fill(database_url, settings)
    made = ["receiver_health", "subscriptions", "item_texts"] if triggers == "fire" else []
    excluded = [f"--exclude-table-data=public.{table}" for table in ("schema_migrations", "schema_definitions", *made)]
    dump = str(tmp_path / "dump")
    _program("pg_dump", "--data-only", "--format=custom", *excluded, f"--file={dump}", database_url)
    target = await asyncpg.connect(another_database_url)
    await target.execute("truncate log_head, epoch")
    await target.close()
    disabled = ["--disable-triggers"] if triggers == "disabled" else []
    _program("pg_restore", "--data-only", "--exit-on-error", *disabled, f"--dbname={another_database_url}", dump)
    before, after = await _rows(database_url), await _rows(another_database_url)
    for table in ("schema_migrations", "schema_definitions"):
        del before[table], after[table]
    assert len([table for table in before if before[table]]) >= 10
    if triggers == "fire":
        # The trigger makes these rows anew, with the present time in them.
        assert [len(rows.pop("receiver_health")) for rows in (before, after)] == [1, 1]
    assert after == before


async def test_a_whole_dump_can_be_restored(
    database_url: str, empty_database_url: str, settings: Settings, tmp_path: Path
) -> None:
    await _fill(database_url, settings)
    dump = str(tmp_path / "dump")
    _program("pg_dump", "--format=custom", f"--file={dump}", database_url)
    _program("pg_restore", "--exit-on-error", f"--dbname={empty_database_url}", dump)
    assert await _rows(empty_database_url) == await _rows(database_url)
    assert await catalog(empty_database_url) == await catalog(database_url)
