"""A template database with a million items, a million events and two million attempts.

It is made once in a run, and rows.sql makes its rows. The users have no password: sign in with a
token, as `sign_up` gives it.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from service.platform.queries import Statements
from service.platform.vault import Vault, parse_key
from tests.support.database import with_database
from tests.support.environment import WEBHOOK_SECRET_KEYS
from tests.support.postgres.shared_server import RUN_DIR, TEMPLATE

LARGE_TEMPLATE = "jossiedb_large_template"
ITEMS = EVENTS = 1_000_000
ATTEMPTS = 2_000_000
_DRAFT = "large_template_draft"
_ROWS = Statements("rows", Path(__file__).with_name("rows.sql").read_text(encoding="utf-8"))
# The sections in their order, each with the tables whose indexes are made after it. That takes a
# third of the time.
_SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("people", ("sessions",)),
    ("places", ()),
    ("items", ("items", "item_texts")),
    ("webhooks", ()),
    ("past_partitions", ()),
    ("events", ()),
    ("attempts", ()),
    ("audit", ("audit",)),
)


def make_template(server_url: str) -> None:
    """Makes the template on this server, unless a process of the same run has made it."""
    with (Path(os.environ[RUN_DIR]) / "large-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asyncio.run(_make_template(server_url))


async def _make_template(server_url: str) -> None:
    admin = await asyncpg.connect(server_url)
    try:
        if await admin.fetchval("select exists (select from pg_database where datname = $1)", LARGE_TEMPLATE):
            return
        await admin.execute(f"drop database if exists {_DRAFT}")
        await admin.execute(f"create database {_DRAFT} template {TEMPLATE}")
        connection = await asyncpg.connect(with_database(server_url, _DRAFT))
        try:
            await _fill(connection)
        finally:
            await connection.close()
        await admin.execute(f"alter database {_DRAFT} rename to {LARGE_TEMPLATE}")
    finally:
        await admin.close()


async def _fill(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.execute("set synchronous_commit = off; set maintenance_work_mem = '256MB'; set work_mem = '256MB'")
    for name, tables in _SECTIONS:
        async with _indexed_afterwards(connection, tables):
            await connection.execute(getattr(_ROWS, name).sql)
    vault = Vault([parse_key(WEBHOOK_SECRET_KEYS)])
    for row in await connection.fetch("select id from webhooks"):
        sealed = vault.seal(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", row["id"].bytes)
        await connection.execute("update webhooks set secret_sealed = $2 where id = $1", row["id"], sealed)
    await connection.execute("vacuum (analyze, freeze)")


@asynccontextmanager
async def _indexed_afterwards(
    connection: "asyncpg.Connection[asyncpg.Record]", tables: tuple[str, ...]
) -> AsyncIterator[None]:
    """Drops the indexes of these tables meanwhile, except those of constraints."""
    indexes: list[Any] = await connection.fetch(
        """select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition
             from pg_index as i
            where i.indrelid = any ($1::text[]::regclass[])
              and not exists (select from pg_constraint as c where c.conindid = i.indexrelid)""",
        list(tables),
    )
    for index in indexes:
        await connection.execute(f"drop index {index['name']}")
    yield
    for index in indexes:
        await connection.execute(index["definition"])
