"""Opens connections and pools, and tells the kinds of errors of PostgreSQL apart."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from service.platform.errors import StartupError
from service.platform.preconditions import check_server
from service.platform.session import Session, UnusableSession, open_session

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# asyncpg raises these if the server is away, shutting down, starting, read-only or full. The
# statement is not the cause.
AWAY = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    # The pool resets a connection that was in use, and that the server has just ended.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    # The server is shutting down, has crashed or is starting, or it cancelled a statement.
    asyncpg.OperatorInterventionError,
    # The server has no connection, no memory or no disk space left.
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    # The database was dropped, and is not yet restored under its name.
    asyncpg.InvalidCatalogNameError,
)
# Two transactions are in each other's way. The statement may simply be tried again.
CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


# Seconds. The server's statement_timeout is shorter, so normally the server ends a slow statement
# and reports it.
COMMAND_TIMEOUT = 65.0


# SQLSTATEs of other errors that pass. A lock was not granted. The server ended a transaction
# because it was idle or took too long. A login, a right or the database is missing for a moment,
# during a restore or a change of the password. A snapshot is too old.
_PASSING = frozenset(
    {"25P02", "25P03", "25P04", "28000", "28P01", "3D000", "40000", "40003", "55006", "55P03", "72000"}
)


def is_passing(error: BaseException) -> bool:
    """Whether an error comes from the server's present state, or from other transactions. The same
    statement may succeed later. False for an error that a row's content or a defect of ours
    causes."""
    # InvalidCachedStatementError: a migration has changed a table since the statement was prepared.
    if isinstance(error, (*AWAY, *CONTENDED, asyncpg.InvalidCachedStatementError)):
        return True
    return lacks_partition(error) or (isinstance(error, asyncpg.PostgresError) and error.sqlstate in _PASSING)


# Classes of SQLSTATEs: cardinality, data, integrity, check option, limits of the program, and
# errors that a trigger raises.
_OF_ROWS = frozenset({"21", "22", "23", "44", "54", "P0"})
# Damaged data and a damaged index. XX000, an internal error, has the same class but does not
# concern a row. A type that was dropped and created again can cause it.
_DAMAGED = frozenset({"XX001", "XX002"})


def is_of_a_row(error: Exception) -> bool:
    """Whether a row is the cause of an error: by its content, or because it reveals a defect of
    ours.

    An error that concerns all rows alike, such as a missing table or right, is neither of a row nor
    passing.
    """
    if is_passing(error):
        return False
    return (
        not isinstance(error, asyncpg.PostgresError)
        or (error.sqlstate or "")[:2] in _OF_ROWS
        or error.sqlstate in _DAMAGED
    )


def is_away(error: BaseException) -> bool:
    """Whether other statements would fail now as well. A cancelled statement does not show that: it
    only took too long itself."""
    return isinstance(error, AWAY) and not isinstance(error, asyncpg.QueryCanceledError)


def lacks_partition(error: BaseException) -> bool:
    """Whether a row was refused because no partition exists for it, which is not the row's fault.

    The server reports this as a failed check. Only this kind of failed check names no constraint.
    The message would not show it, because it is in the server's language.
    """
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None


async def connect(url: str, *, application_name: str, settings: Mapping[str, str] | None = None) -> Session:
    """Opens a session and checks that the server can be used. Raises StartupError, which never
    shows the password."""
    with _clear_errors(url):
        session = await open_session(url, Session, application_name=application_name, settings=settings)
        try:
            if session.pooled:
                await _not_shared(session, url, application_name)
            await check_server(session)
        except BaseException:
            session.terminate()
            raise
    return session


@contextmanager
def _clear_errors(url: str) -> Iterator[None]:
    """Raises StartupError, which says in one line why no connection could be opened."""
    try:
        yield
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


async def _not_shared(session: Session, url: str, application_name: str) -> None:
    """Raises UnusableSession if the pooler lends the server session of an idle client to another
    client."""
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
    """Opens a pool of at most `size` connections, and its first connection. Raises StartupError.

    It does not check the server, because every process calls `connect` before.

    `settings` apply to each session, in addition to those of `open_session`. `on_ended` is called
    whenever a connection has ended, no matter which side ended it. `on_new` is called with each new
    connection before it is used. `make` replaces asyncpg's create_pool. `options` are further
    arguments of it, or of asyncpg's connect.
    """

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
                # If the pool closed this connection, it would wait for the server's answer.
                session.terminate()
                raise
        if on_ended is not None:
            session.add_termination_listener(lambda _: on_ended())
        return session

    with _clear_errors(url):
        return await make(
            connect=begin,
            connection_class=connection_class,
            # With a minimum, the pool would restore it by itself, and log a traceback each time
            # that fails.
            min_size=0,
            init_size=1,
            max_size=size,
            reset=_leave_as_it_is,
            **options,
        )


async def _leave_as_it_is(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """The pool's `reset`. It does nothing: our statements leave nothing behind in a session, and
    asyncpg's own reset would undo the session's settings."""


def address(url: str) -> str:
    """Host, port and database of `url`, without the login."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    # Several hosts, or a socket, are in the query. Only `host` is taken from there, because a
    # password may be there, too.
    host = parts.hostname or ",".join(parse_qs(parts.query).get("host", [])) or "its socket"
    return f"{host}{f':{port}' if port else ''}{parts.path}"
