"""Applies the migrations, and then the functions and views whose text has changed.

The migrations are the files sql/migrations/NNNN_verb_object.sql. They only go forward. Each
migration, function and view is applied in a transaction of its own.
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

LOCK_CLASS = 1246712659  # 'JOSS'; the doorbell's functions have the same number
LOCK_MIGRATE = 3
LOCK_WAIT_SECONDS = 120
# A migration waits this long for the lock of a table. Meanwhile, other transactions that want the
# table queue up behind it.
LOCK_TRY_MS = 200
# If a lock was not granted, the migration leaves the table to other transactions for this long.
LOCK_PAUSE_SECONDS = 1.0
# The columns of our table schema_migrations. If another program has a table of that name, it has
# other columns.
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
    """The migrations and definitions that `migrate` has applied, in this order."""

    migrations: tuple[Migration, ...] = ()
    definitions: tuple[Definition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.migrations or self.definitions)


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations, in the order of their versions."""
    found = []
    for entry in (files("sql") / "migrations").iterdir():
        if match := _FILE.fullmatch(entry.name):
            text = entry.read_text(encoding="utf-8")
            checksum = hashlib.sha256(text.encode()).hexdigest()
            found.append(Migration(int(match["version"]), match["name"], text, checksum))
    return tuple(sorted(found, key=lambda migration: migration.version))


@cache
def our_tables() -> tuple[str, ...]:
    """The names of the tables that the migrations create, and of the views, which need the same
    rights."""
    tables = {match["name"] for migration in migrations() for match in _CREATED.finditer(migration.sql)}
    return tuple(sorted(tables.union(each.name for each in definitions() if each.kind == "view")))


async def migrate(connection: Connection) -> Applied:
    """Apply and return everything that is missing. Raises StartupError.

    A second migrator waits for the first, for LOCK_WAIT_SECONDS at most.
    """
    statements = load("migrate")
    for _ in range(LOCK_WAIT_SECONDS * 10):
        # Try the lock again and again: a statement that waited for it would hold a snapshot.
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
    """Apply `part` without blocking the other users of a table for long.

    While a migration waits for the lock of a table, every later transaction that wants the table
    waits behind it. So it gives up a lock that is not granted soon. The whole part is tried again
    later, until the readers and writers leave a gap.
    """
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
    """Raises StartupError if the database does not have this version's schema.

    A newer schema is accepted, because an upgrade migrates the database first. Functions and views
    must exist. Their texts are not compared, because nothing shows which of two texts is newer.
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
    """The checksums of the applied migrations, by version. Raises StartupError if the file of an
    applied migration has changed, or if schema_migrations belongs to another program."""
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
    """Whether no newer version of this program has migrated the database. If one has, this version
    leaves its functions as they are, because they may need its tables."""
    return max(applied, default=0) <= migrations()[-1].version


async def _changed(connection: Connection) -> list[Definition]:
    """The functions and views that the database does not have with this version's text."""
    if not (wanted := definitions()):
        return []
    there = {row["name"]: row["checksum"] for row in await load("migrate").defined.fetch(connection)}
    return [definition for definition in wanted if there.get(definition.name) != definition.checksum]
