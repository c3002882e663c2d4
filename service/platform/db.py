"""Connections to PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from service.platform.errors import StartupError
from service.platform.preconditions import check_server
from service.platform.session import Session, UnusableSession, open_session

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# What asyncpg raises when the server is away, going away, coming up, read-only or full, and not because of what it was asked.
AWAY = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    # The pool resets a connection that the server has just ended, in the midst of something.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    # Shutting down, crashed, starting up, a statement cancelled or timed out.
    asyncpg.OperatorInterventionError,
    # No connection left, no memory, no disk.
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    # Dropped, and not yet restored under its name.
    asyncpg.InvalidCatalogNameError,
)
# Two transactions in each other's way: the statement may simply be tried again.
CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


# In seconds. The server ends a statement sooner, by its statement_timeout, and says so.
COMMAND_TIMEOUT = 65.0


# Whatever else passes: a lock that was not to be had, a transaction that was ended as it stood idle or took too long, rights or a
# database that are taken away for a moment as it is restored or its password changed, a snapshot that is too old.
_PASSING = frozenset(
    {"25P02", "25P03", "25P04", "28000", "28P01", "3D000", "40000", "40003", "55006", "55P03", "72000"}
)


def is_passing(error: BaseException) -> bool:
    """Whether an error says something of the server, or of others, at this moment, and nothing of what was asked: the same may
    succeed later. False for what a row's content or a defect of ours causes."""
    # The last is a statement whose tables a migration has changed since it was prepared.
    if isinstance(error, (*AWAY, *CONTENDED, asyncpg.InvalidCachedStatementError)):
        return True
    return lacks_partition(error) or (isinstance(error, asyncpg.PostgresError) and error.sqlstate in _PASSING)


# Cardinality, data, integrity, check option, limits of the program, what a trigger raises.
_OF_ROWS = frozenset({"21", "22", "23", "44", "54", "P0"})
# What is damaged. Of the same class XX000, an internal error, says nothing of rows: a type that was made anew is one.
_DAMAGED = frozenset({"XX001", "XX002"})


def is_of_a_row(error: Exception) -> bool:
    """Whether what was asked is to blame: what a row holds, or a defect of ours that it brings to light. What concerns all rows
    alike, such as a table or a right that is missing, is neither this nor passing."""
    if is_passing(error):
        return False
    return (
        not isinstance(error, asyncpg.PostgresError)
        or (error.sqlstate or "")[:2] in _OF_ROWS
        or error.sqlstate in _DAMAGED
    )


def is_away(error: BaseException) -> bool:
    """Whether nothing else can be asked of the server now either. A statement that was cancelled took too long by itself."""
    return isinstance(error, AWAY) and not isinstance(error, asyncpg.QueryCanceledError)


def lacks_partition(error: BaseException) -> bool:
    """Whether a row was refused as there is no partition for it, which is not the row's fault. Not told by the message, whose
    language is the server's: of what is raised as a check that failed only this names no constraint."""
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None


async def connect(url: str, *, application_name: str, settings: Mapping[str, str] | None = None) -> Session:
    """One session, with a server that can be worked with. Raises StartupError, which never shows the password."""
    try:
        session = await open_session(url, Session, application_name=application_name, settings=settings)
        try:
            if session.pooled:
                await _not_shared(session, url, application_name)
            await check_server(session)
        except BaseException:
            session.terminate()
            raise
    except (ValueError, asyncpg.exceptions.ClientConfigurationError) as error:
        raise StartupError(f"DATABASE_URL is not a PostgreSQL address: {error}") from None
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise StartupError(f"PostgreSQL at {address(url)} refuses the login: {error}") from None
    except asyncpg.InvalidCatalogNameError as error:
        raise StartupError(f"PostgreSQL at {address(url)}: {error}; create it first") from None
    except (UnusableSession, StartupError) as error:
        raise StartupError(f"PostgreSQL at {address(url)} cannot be used: {error}") from None
    except (*AWAY, asyncpg.PostgresError) as error:
        raise StartupError(f"PostgreSQL at {address(url)} cannot be reached: {error or type(error).__name__}") from None
    return session


async def _not_shared(session: Session, url: str, application_name: str) -> None:
    """Raises UnusableSession if the pooler gives the server session of one that is idle to the next that comes."""
    other = await open_session(url, Session, application_name=application_name)
    try:
        await session.verify()
        await other.verify()
    finally:
        other.terminate()


async def open_pool(
    url: str,
    *,
    application_name: str,
    size: int,
    settings: Mapping[str, str] | None = None,
    connection_class: type[Session] = Session,
    on_ended: Callable[[], None] | None = None,
    on_new: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[None]] | None = None,
    make: Callable[..., Pool] = asyncpg.create_pool,
    **options: Any,
) -> Pool:
    """A pool of at most `size` connections. Raises what asyncpg raises: `connect`, which every process
    calls before, gives the clear errors.

    `settings`: of each session, besides ours. `on_ended` is called when a connection has ended, whoever ended it; `on_new` with
    each new one, before it is used. `make` takes create_pool's place, and `options` are more of its arguments, or of connect's."""

    async def begin(*_: Any, **given: Any) -> Session:
        connecting = {name: given[name] for name in given.keys() - {"loop", "connection_class", "record_class"}}
        session = await open_session(
            url,
            connection_class,
            application_name=application_name,
            settings=settings,
            command_timeout=COMMAND_TIMEOUT,
            **connecting,
        )
        if on_new is not None:
            try:
                await on_new(session)
            except BaseException:
                # The pool would close it politely, and wait for the answer to that.
                session.terminate()
                raise
        if on_ended is not None:
            session.add_termination_listener(lambda _: on_ended())
        return session

    return await make(
        connect=begin,
        connection_class=connection_class,
        # No floor: the pool would try to restore it by itself, with a traceback in the log each time that it cannot.
        min_size=0,
        init_size=1,
        max_size=size,
        reset=_leave_as_it_is,
        **options,
    )


async def _leave_as_it_is(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Nothing that we run leaves anything behind in a session, and asyncpg's own reset would undo our settings."""


def address(url: str) -> str:
    """Host, port and database of `url`, without the login."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    # Several hosts, or a socket, are in the query; a password may be there, too.
    host = parts.hostname or ",".join(parse_qs(parts.query).get("host", [])) or "its socket"
    return f"{host}{f':{port}' if port else ''}{parts.path}"
