"""Connections to PostgreSQL."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from service.platform.errors import StartupError

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

MIN_VERSION = 15
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
)
# Two transactions in each other's way: the statement may simply be tried again.
CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


# In seconds. The server ends a statement sooner, by its statement_timeout, and says so.
COMMAND_TIMEOUT = 65.0
# What the statements rely on, whatever the database or the role has for a default.
SESSION = {"default_transaction_isolation": "read committed", "lock_timeout": "0"}


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


# Cardinality, data, integrity, check option, limits of the program, what a trigger raises, what is damaged.
_OF_ROWS = frozenset({"21", "22", "23", "44", "54", "P0", "XX"})


def is_of_a_row(error: Exception) -> bool:
    """Whether what was asked is to blame: what a row holds, or a defect of ours that it brings to light. What concerns all rows
    alike, such as a table or a right that is missing, is neither this nor passing."""
    if is_passing(error):
        return False
    return not isinstance(error, asyncpg.PostgresError) or (error.sqlstate or "")[:2] in _OF_ROWS


def is_away(error: BaseException) -> bool:
    """Whether nothing else can be asked of the server now either. A statement that was cancelled took too long by itself."""
    return isinstance(error, AWAY) and not isinstance(error, asyncpg.QueryCanceledError)


def lacks_partition(error: BaseException) -> bool:
    """Whether a row was refused as there is no partition for it, which is not the row's fault. Not told by the message, whose
    language is the server's: of what is raised as a check that failed only this names no constraint."""
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None


async def connect(url: str, *, application_name: str) -> "asyncpg.Connection[asyncpg.Record]":
    """One connection. Raises StartupError, which never shows the password."""
    try:
        connection = await asyncpg.connect(
            url, timeout=10, server_settings={"application_name": application_name, "timezone": "UTC"}
        )
    except (ValueError, asyncpg.exceptions.ClientConfigurationError) as error:
        raise StartupError(f"DATABASE_URL is not a PostgreSQL address: {error}") from None
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise StartupError(f"PostgreSQL at {address(url)} refuses the login: {error}") from None
    except asyncpg.InvalidCatalogNameError as error:
        raise StartupError(f"PostgreSQL at {address(url)}: {error}; create it first") from None
    except (*AWAY, asyncpg.PostgresError) as error:
        raise StartupError(f"PostgreSQL at {address(url)} cannot be reached: {error or type(error).__name__}") from None
    version = connection.get_server_version().major
    if version < MIN_VERSION:
        await connection.close()
        raise StartupError(f"PostgreSQL at {address(url)} is version {version}; Jossiedb needs {MIN_VERSION} or newer")
    return connection


async def open_pool(
    url: str,
    *,
    application_name: str,
    size: int,
    server_settings: Mapping[str, str] | None = None,
    keep_state: bool = False,
    on_ended: Callable[[], None] | None = None,
    make: Callable[..., Pool] = asyncpg.create_pool,
) -> Pool:
    """A pool of at most `size` connections. Raises StartupError.

    `server_settings`: for each session, besides ours. `keep_state`: for a user that leaves nothing behind in a session; its
    statements stay prepared, and a connection that is given back is not reset, which would take a round trip. `on_ended` is called
    when a connection has ended, whoever ended it. `make`: what takes create_pool's place, and begins each connection itself."""
    # A first plain connection gives the clear errors; the pool's own are less so.
    await (await connect(url, application_name=application_name)).close()
    return await make(
        url,
        # No floor: the pool would try to restore it by itself, with a traceback in the log each time that it cannot.
        min_size=0,
        init_size=1,
        max_size=size,
        timeout=10,
        command_timeout=COMMAND_TIMEOUT,
        server_settings={
            "application_name": application_name,
            "timezone": "UTC",
            "statement_timeout": "60s",
            **SESSION,
            **(server_settings or {}),
        },
        **({} if on_ended is None else {"init": _telling(on_ended)}),
        **(_KEEP_STATE if keep_state else {}),
    )


def _telling(
    on_ended: Callable[[], None],
) -> Callable[["asyncpg.Connection[asyncpg.Record]"], Coroutine[Any, Any, None]]:
    async def init(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        connection.add_termination_listener(lambda _: on_ended())

    return init


async def _leave_as_it_is(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    pass


_KEEP_STATE: dict[str, Any] = {
    "reset": _leave_as_it_is,
    "max_queries": 2**31,
    "max_cached_statement_lifetime": 0,
    "max_inactive_connection_lifetime": 0,
}


def address(url: str) -> str:
    """Host, port and database of `url`, without the login."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    host = parts.hostname or parts.query or "its socket"
    return f"{host}{f':{port}' if port else ''}{parts.path}"
