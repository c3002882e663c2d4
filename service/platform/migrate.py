"""Migrations: sql/migrations/NNNN_verb_object.sql, forward only, each in a transaction of its own."""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from service.platform.errors import StartupError
from service.platform.queries import Connection, load

LOCK_CLASS = 1246712659  # 'JOSS'; the same number stands in the doorbell's functions
LOCK_MIGRATE = 3
LOCK_WAIT_SECONDS = 120
_FILE = re.compile(r"(?P<version>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str
    checksum: str


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


async def migrate(connection: Connection) -> list[Migration]:
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
        await statements.create_table.execute(connection)
        missing = _missing(await _applied(connection))
        for migration in missing:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await statements.record.execute(
                    connection, version=migration.version, name=migration.name, checksum=migration.checksum
                )
        return missing
    finally:
        await statements.unlock.execute(connection, class_id=LOCK_CLASS, object_id=LOCK_MIGRATE)


async def check_migrated(connection: Connection) -> None:
    """Raises StartupError if the database is not at this version's schema. A newer database is accepted: it is rolled out first."""
    if not await load("migrate").table_exists.fetchval(connection):
        raise StartupError("the database is not migrated; run: jossiedb migrate")
    missing = _missing(await _applied(connection))
    if missing:
        names = ", ".join(f"{migration.version:04}_{migration.name}" for migration in missing)
        raise StartupError(f"the database lacks {names}; run: jossiedb migrate")


async def _applied(connection: Connection) -> dict[int, str]:
    return {row["version"]: row["checksum"] for row in await load("migrate").applied.fetch(connection)}


def _missing(applied: dict[int, str]) -> list[Migration]:
    for migration in migrations():
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise StartupError(
                f"migration {migration.version:04}_{migration.name} was changed after it had been applied; restore its file"
            )
    return [migration for migration in migrations() if migration.version not in applied]
