"""What a session of ours is, and the one way to begin one: for every pool, the LISTEN connection and the command line.

A setting that is sent as a startup parameter does not pass a pooler: PgBouncer refuses it, or is told to ignore it and drops it. So
each session is set up by a statement after the connect, and read back in the next transaction. Nothing resets a session of ours
afterwards (asyncpg's pool would run RESET ALL at each release): whatever a statement changes, it changes for its transaction only.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import asyncpg

from service.platform.database_url import parse
from service.platform.queries import load

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

_SQL = load("session")
MIN_VERSION = 15
_SHARED = (
    "the pooler gives one server session to several clients; Jossiedb needs session pooling"
    " (pool_mode = session, server_reset_query = DISCARD ALL)"
)
_MARK = "jossiedb.session"
# What the statements rely on, whatever the server, the database or the role has for a default. `search_path`: pg_catalog comes
# first unless it is named, and pg_temp would come before public.
_SETTINGS = {
    "search_path": "public, pg_temp",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "60s",
    "lock_timeout": "0",
}


class Session(_Connection):
    """A connection that was set up by `open_session`."""

    names: tuple[str, ...]
    in_force: list[str]
    # The server's process. Behind a pooler `get_server_pid()` is a number that the pooler made up.
    pid: int

    @property
    def pooled(self) -> bool:
        """Whether a pooler stands between us and the server."""
        return self.pid != self.get_server_pid()

    async def verify(self) -> None:
        """Raises UnusableSession unless the settings are in force."""
        try:
            in_force = await _SQL.in_force.fetchval(self, names=self.names)
        except asyncpg.InvalidSQLStatementNameError:
            raise UnusableSession(_SHARED) from None
        if in_force != self.in_force:
            raise UnusableSession(_SHARED)


AnySession = TypeVar("AnySession", bound=Session)


class UnusableSession(asyncpg.InterfaceError):
    """No statement can be run in it, as with a server that is away."""


async def open_session(
    url: str,
    kind: type[AnySession],
    *,
    application_name: str,
    settings: Mapping[str, str] | None = None,
    command_timeout: float | None = None,
    max_cached_statement_lifetime: int = 300,
) -> AnySession:
    """A new session. `settings` hold in it besides those of every session; the last two arguments are asyncpg's, in seconds.
    Raises what asyncpg raises, and UnusableSession."""
    target = parse(url)
    async with asyncio.timeout(target.connect_timeout):
        connection: AnySession = await asyncpg.connect(
            target.dsn,
            timeout=target.connect_timeout,
            command_timeout=command_timeout,
            max_cached_statement_lifetime=max_cached_statement_lifetime,
            server_settings={"application_name": application_name, **target.server_settings},
            connection_class=kind,
        )
        try:
            version = connection.get_server_version().major
            if version < MIN_VERSION:
                raise UnusableSession(f"it is version {version}; Jossiedb needs {MIN_VERSION} or newer")
            await _set_up(connection, {_MARK: str(uuid4()), **_SETTINGS, **(settings or {})})
        except BaseException:
            # Closing it politely would wait for an answer.
            connection.terminate()
            raise
    return connection


async def _set_up(connection: Session, settings: Mapping[str, str]) -> None:
    connection.names = tuple(settings)
    try:
        begun = await _SQL.begin.fetchrow(connection, names=connection.names, values=tuple(settings.values()))
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        # Prepared on another server session, or left over from another client.
        raise UnusableSession(_SHARED) from None
    assert begun is not None, "it returns one row"
    if begun["marked"]:
        raise UnusableSession(_SHARED)
    connection.pid = begun["pid"]
    connection.in_force = begun["in_force"]
    await connection.verify()
