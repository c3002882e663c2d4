"""Functions and views whose text changes between two versions."""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Sequence
from typing import TypeAlias

import asyncpg
import pytest

from service.platform import migrate
from service.platform.definitions import Definition, definitions
from service.platform.errors import StartupError
from service.platform.migrate import Migration
from tests.support.database import Connection

Version: TypeAlias = Callable[..., None]
PLUS_ONE = "create or replace function public.step(n integer) returns integer language sql immutable return n + 1;"
PLUS_TWO = PLUS_ONE.replace("+ 1", "+ 2")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _function(name: str, text: str) -> Definition:
    return Definition(name, "function", text, _checksum(text))


def _next_migration(text: str, *, after: int = 0) -> Migration:
    version = migrate.migrations()[-1].version + 1 + after
    return Migration(version, "test", text, _checksum(text))


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Version:
    """`version(definitions, migrations)` makes this program a version that also has these."""
    own_migrations, own_definitions = migrate.migrations(), definitions()

    def become(more: Sequence[Definition] = (), migrations: Sequence[Migration] = ()) -> None:
        monkeypatch.setattr(migrate, "migrations", lambda: (*own_migrations, *migrations))
        monkeypatch.setattr(migrate, "definitions", lambda: (*own_definitions, *more))

    return become


async def _texts(connection: Connection) -> list[asyncpg.Record]:
    """Each function with the transaction that created it. A function that is created again has
    another transaction."""
    return await connection.fetch(
        "select oid, xmin::text from pg_proc where pronamespace = 'public'::regnamespace order by oid"
    )


async def test_a_text_is_applied_when_it_changes_and_only_then(connection: Connection, version: Version) -> None:
    before = await _texts(connection)
    assert not await migrate.migrate(connection)
    assert await _texts(connection) == before
    for text, expected in ((PLUS_ONE, 2), (PLUS_TWO, 3)):
        version([_function("step", text)])
        applied = await migrate.migrate(connection)
        assert [str(definition) for definition in applied.definitions] == ["function step"]
        assert await connection.fetchval("select step(1)") == expected
        assert not await migrate.migrate(connection)
    others = [row for row in await _texts(connection) if row in before]
    assert others == before


async def test_a_text_is_applied_again_after_somebody_has_dropped_what_it_defines(
    connection: Connection, version: Version
) -> None:
    version([_function("step", PLUS_ONE)])
    await migrate.migrate(connection)
    await connection.execute("drop function step")
    with pytest.raises(StartupError, match="the database lacks step; run: jossiedb migrate"):
        await migrate.check_migrated(connection)
    assert [definition.name for definition in (await migrate.migrate(connection)).definitions] == ["step"]
    await migrate.check_migrated(connection)


async def test_two_migrators_at_once_apply_a_text_once(
    connection: Connection, database_url: str, version: Version
) -> None:
    version([_function("step", PLUS_ONE)])
    other = await asyncpg.connect(database_url)
    try:
        both = await asyncio.gather(migrate.migrate(connection), migrate.migrate(other))
    finally:
        await other.close()
    assert sorted(len(applied.definitions) for applied in both) == [0, 1]
    assert await connection.fetchval("select step(1)") == 2


async def test_a_migration_that_needs_a_function_works_before_and_after_its_text_changes(
    connection: Connection, another_database_url: str, version: Version
) -> None:
    """A migration creates the functions that it needs. A new database and one that is migrated step
    by step end in the same state."""
    creates = _next_migration(f"{PLUS_ONE.replace(' or replace', '')} create table steps (n integer default step(1));")
    uses = _next_migration("insert into steps default values; create index on steps (step(n));", after=1)
    version([_function("step", PLUS_ONE)], [creates])
    await migrate.migrate(connection)
    version([_function("step", PLUS_TWO)], [creates, uses])
    applied = await migrate.migrate(connection)
    assert ([part.version for part in applied.migrations], applied.definitions) == (
        [uses.version],
        (_function("step", PLUS_TWO),),
    )
    fresh = await asyncpg.connect(another_database_url)
    try:
        await migrate.migrate(fresh)
        for database in (connection, fresh):
            assert await database.fetchval("insert into steps default values returning n") == 3
    finally:
        await fresh.close()


async def test_an_older_version_leaves_the_functions_of_a_newer_one_alone(
    connection: Connection, version: Version
) -> None:
    version([_function("step", PLUS_TWO)], [_next_migration("create table steps (n integer)")])
    await migrate.migrate(connection)
    version([_function("step", PLUS_ONE)])
    assert not await migrate.migrate(connection)
    await migrate.check_migrated(connection)
    assert await connection.fetchval("select step(1)") == 3


async def test_a_text_that_the_server_refuses_is_named_and_leaves_no_trace(
    connection: Connection, version: Version
) -> None:
    version([_function("step", PLUS_ONE)])
    await migrate.migrate(connection)
    version([_function("step", PLUS_ONE.replace("returns integer", "returns bigint"))])
    with pytest.raises(StartupError, match=r"function step could not be applied.*cannot change return type"):
        await migrate.migrate(connection)
    assert await connection.fetchval("select step(1)") == 2


async def test_ids_that_the_database_makes_sort_by_when_they_were_made(connection: Connection) -> None:
    """PostgreSQL 18 has a function of this name. This one is ours, for 15 to 17."""
    made = [await connection.fetchval("select public.uuidv7()") for _ in range(100)]
    assert made == sorted(made)
    for each in made:
        assert (each.version, each.variant) == (7, uuid.RFC_4122)
        assert await connection.fetchval("select abs(extract(epoch from now() - uuid_time($1))) < 60", each)
