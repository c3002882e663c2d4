"""Processes of the release before this version find all that they use of the schema.

tests/e2e/test_rolling_upgrade.py runs such processes. Here all statements are compared, also those
that are not run there.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service.platform.queries import Statements
from tests.support.database import Connection
from tests.support.releases import Tree

# Names, each with a line that has all that a caller relies on.
FUNCTIONS = """
select proname, format('function %s(%s) returns %s', proname, pg_get_function_identity_arguments(oid), pg_get_function_result(oid))
  from pg_proc
 where pronamespace = 'public'::regnamespace
"""
TYPES = """
select relname, format('type %s of %s', relname, string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum))
  from pg_class
  join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
 where relnamespace = 'public'::regnamespace and relkind = 'c'
 group by pg_class.oid
"""
# An insert that does not name such a column fails, and so does one that gives it a null.
REQUIRED = """
select format('column %s.%s is not null and has no default', relname, attname)
  from pg_class
  join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
 where relnamespace = 'public'::regnamespace and relname = any ($1)
   and attnotnull and not atthasdef and attidentity = ''
"""
TABLES = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"


def words_of(version: Tree) -> set[str]:
    """All words in the statements of that version, and in the functions and views that they reach.

    A function that was kept for the version before is not reached, and may be dropped.
    """
    sql = version.root / "sql"
    words = {path.stem: _words(path) for folder in ("functions", "views") for path in (sql / folder).glob("*.sql")}
    found: set[str] = set()
    more = set().union(*(_words(path) for path in (sql / "queries").glob("*.sql")))
    while more:
        found |= more
        more = set().union(*(words[name] for name in more & words.keys())) - found
    return found


def _words(path: Path) -> set[str]:
    return set(re.findall(r"\w+", re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))))


async def statements(connection: Connection, version: Tree) -> dict[str, str]:
    """Each statement of that version: its parameters and columns on this schema, or its error."""
    found = {}
    for path in sorted((version.root / "sql" / "queries").glob("*.sql")):
        for statement in Statements(path.stem, path.read_text(encoding="utf-8")):
            try:
                prepared = await connection.prepare(statement.sql)
            except asyncpg.PostgresError as error:
                found[statement.name] = f"fails: {error}"
            else:
                takes = [type.name for type in prepared.get_parameters()]
                gives = [f"{column.name} {column.type.name}" for column in prepared.get_attributes()]
                found[statement.name] = f"takes {takes}, gives {gives}"
    return found


async def rows(connection: Connection, query: str, *arguments: object) -> set[tuple[str, ...]]:
    return {tuple(row) for row in await connection.fetch(query, *arguments)}


async def differences(released: Connection, present: Connection, version: Tree) -> list[str]:
    """One line for each thing that processes of that version need and that is not as it was."""
    used = words_of(version)
    gone = [await rows(released, query) - await rows(present, query) for query in (FUNCTIONS, TYPES)]
    tables = [name for (name,) in await rows(released, TABLES)]
    required = await rows(present, REQUIRED, tables) - await rows(released, REQUIRED, tables)
    before, now = await statements(released, version), await statements(present, version)
    return [
        *(f"gone: {line}" for name, line in sorted(set().union(*gone)) if name in used),
        *(line for (line,) in sorted(required)),
        *(f"{name} {now[name]}; before it {before[name]}" for name in before if now[name] != before[name]),
    ]


@pytest.fixture
async def released(empty_database_url: str, release: Tree) -> AsyncIterator[Connection]:
    """A database with the schema of the release."""
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute((release.root / "sql" / "schema.sql").read_text(encoding="utf-8"))
    yield connection
    await connection.close()


async def test_processes_of_the_release_find_all_they_use(
    released: Connection, connection: Connection, release: Tree
) -> None:
    assert await differences(released, connection, release) == []


async def test_changes_that_need_two_releases_are_found(
    released: Connection, connection: Connection, release: Tree
) -> None:
    await connection.execute("""
        alter table relays rename column poll_wakes to wakes_by_poll;
        alter table deliveries alter column lost_leases type bigint;
        alter table items add column colour text not null;
        drop function replayable;
        alter type attempt_result add attribute colour text;
    """)
    found = await differences(released, connection, release)
    for expected in (
        'presence.beat fails: column "poll_wakes" of relation "relays" does not exist',
        "claim.claim takes",
        "column items.colour is not null and has no default",
        "gone: function replayable(",
        "gone: type attempt_result of webhook_id uuid, ",
    ):
        assert any(line.startswith(expected) for line in found), (expected, found)


async def test_changes_that_need_one_release_are_no_differences(
    released: Connection, connection: Connection, release: Tree
) -> None:
    # The release has kept it for the version before, and does not use it.
    await released.execute("create function claim_v0(integer) returns integer language sql return $1")
    await connection.execute("""
        alter table deliveries add column colour text not null default 'blue';
        alter table items add column colour text;
        create table colours (name text primary key);
        create function claim_v2(integer) returns integer language sql return $1;
    """)
    assert await differences(released, connection, release) == []
