"""Connections, making and dropping databases, and SQL about waiting sessions."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Queries(Protocol):
    """The queries of a connection, also for objects that reconnect after an outage."""

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]: ...

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None: ...

    async def fetchval(self, query: str, *args: Any) -> Any: ...

    async def execute(self, query: str, *args: Any) -> str: ...


WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
# A condition on pg_locks, which lists the locks of all databases of the server. A lock on a
# transaction belongs to no database.
THIS_DATABASE = "database = (select oid from pg_database where datname = current_database())"


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def create_database(server_url: str, template: str, prefix: str = "test") -> str:
    """Creates a copy of the template, and returns its URL. Copying files writes nothing to the
    WAL."""
    name = f"{prefix}_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"create database {name} template {template} strategy file_copy")
    finally:
        await admin.close()
    return with_database(server_url, name)


async def drop_database(server_url: str, url: str) -> None:
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"drop database {url.partition('@/')[2].partition('?')[0]} with (force)")
    finally:
        await admin.close()


SomebodyWaits = Callable[[], Awaitable[None]]
