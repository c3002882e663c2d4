"""Migrations, sql/migrations/NNNN_verb_object.sql, forward only; after them, functions and views whose text has changed.

Each is applied in a transaction of its own.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import asyncpg

from service.platform.db import AWAY
from service.platform.definitions import Definition, definitions
from service.platform.errors import StartupError
from service.platform.preconditions import check_may_migrate
from service.platform.queries import Connection, load

LOCK_CLASS = 1246712659  # 'JOSS'; the same number stands in the doorbell's functions
LOCK_MIGRATE = 3
LOCK_WAIT_SECONDS = 120
# How long a migration may keep others waiting for a table that it waits for itself, and how long it then leaves them alone.
LOCK_TRY_MS = 200
LOCK_PAUSE_SECONDS = 1.0
# What the table of the applied ones looks like. Those of other programs have other columns.
_COLUMNS = {"version": "integer", "name": "text", "checksum": "text", "applied_at": "timestamp with time zone"}
_CREATED = re.compile(r"^create table (?:if not exists )?(?:public\.)?(?P<name>[a-z_]+)", re.MULTILINE)
_FILE = re.compile(r"(?P<version>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str
    checksum: str

    def __str__(self) -> str:
        return f"migration {self.version:04}_{self.name}"


@dataclass(frozen=True, slots=True)
class Applied:
    """What `migrate` applied, in this order."""

    migrations: tuple[Migration, ...] = ()
    definitions: tuple[Definition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.migrations or self.definitions)


@cache
def migrations() -> tuple[Migration, ...]:
    """All of them, in order."""
    found = []
    for entry in (files("sql") / "migrations").iterdir():
        if match := _FILE.fullmatch(entry.name):
            text = entry.read_text(encoding="utf-8")
            checksum = hashlib.sha256(text.encode()).hexdigest()
            found.append(Migration(int(match["version"]), match["name"], text, checksum))
    return tuple(sorted(found, key=lambda migration: migration.version))


@cache
def our_tables() -> tuple[str, ...]:
    """Names of the tables that the migrations create, and of the views, which need the same rights."""
    tables = {match["name"] for migration in migrations() for match in _CREATED.finditer(migration.sql)}
    return tuple(sorted(tables.union(each.name for each in definitions() if each.kind == "view")))


async def migrate(connection: Connection) -> Applied:
    """Apply what is missing and return it. A second migrator waits for the first; raises StartupError."""
    statements = load("migrate")
    for _ in range(LOCK_WAIT_SECONDS * 10):
        # Tried, never waited for: a statement that waits holds a snapshot.
        if await statements.try_lock.fetchval(connection, class_id=LOCK_CLASS, object_id=LOCK_MIGRATE):
            break
        await asyncio.sleep(0.1)
    else:
        raise StartupError(f"another migration has been running for {LOCK_WAIT_SECONDS} s; wait for it, or end it")
    try:
        applied = await _applied(connection)
        missing = _missing(applied)
        if missing:
            await check_may_migrate(connection, our_tables(), from_nothing=not applied)
            await statements.create_table.execute(connection)
        for migration in missing:
            await _apply_patiently(connection, migration)
        changed = await _changed(connection) if _is_newest(applied) else []
        if changed and not missing:
            await check_may_migrate(connection, our_tables(), from_nothing=False)
        for definition in changed:
            await _apply_patiently(connection, definition)
        return Applied(tuple(missing), tuple(changed))
    finally:
        if not connection.is_closed():
            await statements.unlock.execute(connection, class_id=LOCK_CLASS, object_id=LOCK_MIGRATE)


async def _apply_patiently(connection: Connection, part: Migration | Definition) -> None:
    """Whoever asks for a table behind somebody who waits for it must wait, too. So a lock that is not granted soon is given up,
    and all of this part is tried again later, until those who read and write leave a gap."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            await _apply(connection, part)
            return
        except asyncpg.LockNotAvailableError as error:
            if time.monotonic() > deadline:
                raise StartupError(
                    f"{part} got no lock within {LOCK_WAIT_SECONDS} s: a long transaction, a dump, say, holds a table;"
                    " what came before it is applied, run it again later"
                ) from error
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        except asyncpg.InsufficientPrivilegeError as error:
            raise StartupError(f"{part} needs more rights than this role has: {error}") from None
        except (*AWAY, asyncpg.PostgresError) as error:
            raise StartupError(
                f"{part} could not be applied, and what came before it is: {error or type(error).__name__}"
            ) from None


async def _apply(connection: Connection, part: Migration | Definition) -> None:
    statements = load("migrate")
    async with connection.transaction():
        await statements.prepare.fetchrow(connection, milliseconds=LOCK_TRY_MS)
        await connection.execute(part.sql)
        if isinstance(part, Migration):
            await statements.record.execute(connection, version=part.version, name=part.name, checksum=part.checksum)
        else:
            await statements.record_definition.execute(connection, name=part.name, checksum=part.checksum)


async def check_migrated(connection: Connection) -> None:
    """Raises StartupError if the database is not at this version's schema. A newer database is accepted: it is rolled out first.

    Functions and views must be there; their texts are not compared, because nothing tells a newer text from an older one.
    """
    applied = await _applied(connection)
    missing = _missing(applied)
    if not applied:
        raise StartupError("the database is not migrated; run: jossiedb migrate")
    names = [f"{migration.version:04}_{migration.name}" for migration in missing]
    if not names:
        wanted = [definition.name for definition in definitions()]
        names = [row["name"] for row in await load("migrate").undefined.fetch(connection, names=wanted)]
    if names:
        raise StartupError(f"the database lacks {', '.join(names)}; run: jossiedb migrate")


async def _applied(connection: Connection) -> dict[int, str]:
    """The checksums of the applied migrations. Raises StartupError if one was changed, or the table is another program's."""
    statements = load("migrate")
    columns = {row["name"]: row["type"] for row in await statements.table_columns.fetch(connection)}
    if not columns:
        return {}
    if columns != _COLUMNS:
        raise StartupError(
            f"public.schema_migrations is another program's: it has the columns {', '.join(columns)};"
            " give Jossiedb a database of its own"
        )
    try:
        applied = {row["version"]: row["checksum"] for row in await statements.applied.fetch(connection)}
    except asyncpg.InsufficientPrivilegeError:
        raise StartupError(
            "this role lacks select on schema_migrations; grant it, or let the role own the tables"
        ) from None
    for migration in migrations():
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise StartupError(
                f"migration {migration.version:04}_{migration.name} was changed after it had been applied; restore its file"
            )
    return applied


def _missing(applied: Container[int]) -> list[Migration]:
    return [migration for migration in migrations() if migration.version not in applied]


def _is_newest(applied: Iterable[int]) -> bool:
    """Whether no newer version of this program has migrated the database: its functions may need its tables."""
    return max(applied, default=0) <= migrations()[-1].version


async def _changed(connection: Connection) -> list[Definition]:
    """The functions and views that are not there with this version's text."""
    if not (wanted := definitions()):
        return []
    there = {row["name"]: row["checksum"] for row in await load("migrate").defined.fetch(connection)}
    return [definition for definition in wanted if there.get(definition.name) != definition.checksum]
