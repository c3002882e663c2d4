"""The settings of our sessions hold from the start, on every later use, and behind a pooler."""

from collections.abc import AsyncIterator, Collection

import asyncpg
import pytest

from relay.lead.listen import LISTENING
from relay.watch.database import LIVENESS, PLANNING, QueueConnection, open_queues
from service.platform.db import connect, open_pool
from service.platform.session import Session, open_session
from tests.support.database import Connection, Queries
from tests.support.postgres.pgbouncer import StartPooler

EVERYWHERE = {
    "search_path": "public, pg_temp",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "1min",
    "lock_timeout": "0",
}
# Defaults that a database may have. None of them may stay in force.
HOSTILE = {
    "search_path": "somewhere, public",
    "timezone": "Asia/Tokyo",
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "7s",
    "lock_timeout": "8s",
    "enable_seqscan": "on",
    "plan_cache_mode": "force_custom_plan",
}
READ = "select name, current_setting(name) as value from unnest($1::text[]) as name"
# PostgreSQL has no keepalives on a Unix socket, and reads 0 there.
KEEPALIVES = {name for name in LIVENESS if name.startswith("tcp_")}


async def in_force(connection: Queries, names: list[str]) -> dict[str, str]:
    return {row["name"]: row["value"] for row in await connection.fetch(READ, names)}


@pytest.fixture(params=["direct", "through PgBouncer"])
async def hostile_url(
    request: pytest.FixtureRequest,
    connection: Connection,
    database_url: str,
) -> AsyncIterator[str]:
    """A database with hostile defaults."""
    database = await connection.fetchval("select current_database()")
    for name, value in HOSTILE.items():
        await connection.execute(f"alter database {database} set {name} = {value if ',' in value else repr(value)}")
    if request.param == "direct":
        yield database_url
    else:
        start_pooler: StartPooler = request.getfixturevalue("start_pooler")
        yield start_pooler(database_url).url


async def test_the_apis_settings_hold_on_a_connections_second_use(hostile_url: str) -> None:
    async with await open_pool(hostile_url, application_name="api", size=1) as pool:
        pids = set()
        for _ in range(3):
            async with pool.acquire() as connection:
                pids.add(await connection.fetchval("select pg_backend_pid()"))
                assert await in_force(connection, list(EVERYWHERE)) == EVERYWHERE
        # Both uses had the same server session.
        assert len(pids) == 1


async def test_a_relays_settings_hold_on_a_connections_second_use(hostile_url: str) -> None:
    async with await open_queues(hostile_url) as pool:
        wanted = EVERYWHERE | PLANNING | {"idle_in_transaction_session_timeout": "10s"}
        for _ in range(3):
            async with pool.acquire() as connection:
                assert await in_force(connection, list(wanted)) == wanted


async def test_the_settings_of_the_listen_connection_hold(hostile_url: str) -> None:
    connection = await open_session(hostile_url, QueueConnection, application_name="listen", settings=LISTENING)
    wanted = EVERYWHERE | {name: value for name, value in LISTENING.items() if name not in KEEPALIVES}
    assert await in_force(connection, list(wanted)) == wanted
    await connection.close()


async def test_a_setting_that_a_transaction_changes_ends_with_it(hostile_url: str) -> None:
    async with await open_pool(hostile_url, application_name="api", size=1) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("select set_config('statement_timeout', '5s', true)")
        async with pool.acquire() as connection:
            assert await in_force(connection, list(EVERYWHERE)) == EVERYWHERE


async def test_an_argument_that_no_connection_takes_is_refused(database_url: str) -> None:
    with pytest.raises(TypeError):
        await open_pool(database_url, application_name="api", size=1, server_settings={"statement_timeout": "15s"})


async def test_the_first_connection_is_made_as_every_later_one(hostile_url: str) -> None:
    first = await connect(hostile_url, application_name="start")
    assert await in_force(first, list(EVERYWHERE)) == EVERYWHERE
    await first.close()


async def test_a_session_that_is_not_in_force_any_more_is_noticed(database_url: str) -> None:
    session = await open_session(database_url, Session, application_name="test")
    await session.verify()
    await session.execute("discard all")
    with pytest.raises(asyncpg.InterfaceError, match="pool_mode = session"):
        await session.verify()
    await session.close()


@pytest.mark.parametrize(
    ("name", "value", "pinned"),
    [("lock_timeout", "500ms", "0"), ("default_transaction_isolation", "repeatable read", "read committed")],
)
async def test_what_statements_rely_on_is_not_left_to_the_databases_defaults(
    connection: Connection, database_url: str, name: str, value: str, pinned: str
) -> None:
    database = await connection.fetchval("select current_database()")
    await connection.execute(f"alter database {database} set {name} = '{value}'")
    queues = await open_queues(database_url)
    served = await open_pool(database_url, application_name="api", size=1)
    listening = await open_session(database_url, QueueConnection, application_name="listen", settings=LISTENING)
    assert await connection.fetchval(
        "select setconfig from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = $1)",
        database,
    )
    assert [await each.fetchval(f"show {name}") for each in (queues, served, listening)] == [pinned] * 3
    await listening.close()
    await queues.close()
    await served.close()


async def test_only_the_first_session_asks_what_a_built_in_array_is(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.platform.session._built_in", {})
    asked: list[frozenset[int]] = []
    introspect = asyncpg.Connection._introspect_types  # type: ignore[attr-defined]  # the stubs leave out what is private

    async def counted(self: Session, typeoids: Collection[int], seconds: float | None) -> object:
        asked.append(frozenset(typeoids))
        return await introspect(self, typeoids, seconds)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", counted)
    for _ in range(2):
        session = await open_session(database_url, Session, application_name="test")
        assert await session.fetchval("select $1::timetz[]", []) == []
        await session.close()
    assert len(asked) == len(set(asked))


async def test_each_session_asks_what_a_type_of_the_database_is(database_url: str, connection: Connection) -> None:
    """Its number may belong to another type in another database, or after a restore."""
    await connection.execute("create type shade as enum ('light', 'dark')")
    session = await open_session(database_url, Session, application_name="test")
    assert await session.fetchval("select array['dark'::shade]") == ["dark"]
    await session.close()
    await connection.execute("drop type shade; create type shade as (depth int)")
    session = await open_session(database_url, Session, application_name="test")
    assert await session.fetchval("select array[row(3)::shade]") == [(3,)]
    await session.close()
