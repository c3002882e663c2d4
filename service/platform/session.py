"""Begins every session with PostgreSQL: for pools, the LISTEN connection and the command line.

A setting cannot be sent as a startup parameter, because it does not pass a pooler. PgBouncer
refuses such a parameter, or drops it if it is configured to ignore it. So after the connect, one
statement makes the settings. A second statement, in the next transaction, reads them back.

Nothing resets a session afterwards, because a statement changes settings for its transaction only.
asyncpg's pool would run RESET ALL at each release, so our pools replace its reset (docs/adr/0022).
"""

import asyncio
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar
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
# The statements rely on these settings. The server, the database or the role may have other
# defaults. search_path names pg_temp last, because otherwise it would come before public.
# pg_catalog comes first without being named.
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


# PostgreSQL gives lower numbers to built-in types only. They are the same in all databases and
# versions.
_FIRST_OF_USERS = 16384
# The answers of introspection, by the numbers of the types.
_built_in: dict[frozenset[int], Any] = {}


class Session(_Connection):
    """A connection that was set up by `open_session`."""

    names: tuple[str, ...]
    in_force: list[str]
    # The id of the server's process. Behind a pooler, `get_server_pid()` returns a number that the
    # pooler has made up.
    pid: int

    async def _introspect_types(self, typeoids: Collection[int], seconds: float | None) -> tuple[Any, Any]:
        """Replaces a method of asyncpg, which asks each connection for each array type that it
        meets. That took 7 ms each time, and made a new connection slow."""
        asked = frozenset(typeoids)
        if (known := _built_in.get(asked)) is not None:
            # asyncpg reads the name only, to see whether its own statement was replaced.
            return known, SimpleNamespace(name="not executed")
        types, statement = await super()._introspect_types(typeoids, seconds)  # type: ignore[misc]  # the stubs leave out what is private
        if max(asked) < _FIRST_OF_USERS:
            _built_in[asked] = types
        return types, statement

    @property
    def pooled(self) -> bool:
        """Whether a pooler stands between this process and the server."""
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
    """No statement may run in this session. It is an InterfaceError, so it belongs to AWAY: the
    caller treats it like a server that is away."""


async def open_session(
    url: str,
    kind: type[AnySession],
    *,
    application_name: str,
    settings: Mapping[str, str] | None = None,
    command_timeout: float | None = None,
    max_cached_statement_lifetime: int = 300,
) -> AnySession:
    """A new session. Raises errors of asyncpg, and UnusableSession.

    `settings` apply in addition to those of every session. The last two arguments are asyncpg's, in
    seconds.
    """
    address = parse(url)
    async with asyncio.timeout(address.connect_timeout):
        connection: AnySession = await asyncpg.connect(
            address.dsn,
            timeout=address.connect_timeout,
            command_timeout=command_timeout,
            max_cached_statement_lifetime=max_cached_statement_lifetime,
            server_settings={"application_name": application_name, **address.server_settings},
            connection_class=kind,
        )
        try:
            version = connection.get_server_version().major
            if version < MIN_VERSION:
                raise UnusableSession(f"it is version {version}; Jossiedb needs {MIN_VERSION} or newer")
            await _set_up(connection, {_MARK: str(uuid4()), **_SETTINGS, **(settings or {})})
        except BaseException:
            # close() would wait for an answer of the server.
            connection.terminate()
            raise
    return connection


async def _set_up(connection: Session, settings: Mapping[str, str]) -> None:
    connection.names = tuple(settings)
    try:
        begun = await _SQL.begin.fetchrow(connection, names=connection.names, values=tuple(settings.values()))
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        # The statement was prepared on another server session, or by another client of this one.
        raise UnusableSession(_SHARED) from None
    assert begun is not None, "it returns one row"
    if begun["marked"]:
        raise UnusableSession(_SHARED)
    connection.pid = begun["pid"]
    connection.in_force = begun["in_force"]
    await connection.verify()
