"""Checks the conditions under which a process can work with a database.

A condition that does not hold is reported in one line, before the process does anything.
"""

from collections.abc import Sequence

from service.platform.errors import StartupError
from service.platform.queries import Connection, load

# How many tables an error names at most.
_NAMED = 5
_SQL = load("preconditions")


async def check_server(connection: Connection) -> None:
    """Raises StartupError unless the database's encoding is UTF8 and this role may use the schema
    public."""
    server = await _SQL.server.fetchrow(connection)
    assert server is not None, "it returns one row"
    if server["encoding"] != "UTF8":
        raise StartupError(
            f"the database's encoding is {server['encoding']}, which cannot hold every text;"
            " create the database with: encoding 'UTF8' template template0"
        )
    if not server["may_use"]:
        raise StartupError("this role may not use the schema public; grant it usage on schema public")


async def check_writable(connection: Connection) -> None:
    """Raises StartupError if the server takes no writes."""
    server = await _SQL.server.fetchrow(connection)
    assert server is not None, "it returns one row"
    if server["standby"]:
        raise StartupError("it is a standby, which takes no writes; name the primary in DATABASE_URL")
    if server["read_only"]:
        raise StartupError("it takes no writes: default_transaction_read_only is on")


async def check_rights(connection: Connection, tables: Sequence[str]) -> None:
    """Raises StartupError unless this role may read the tables and write events."""
    if lacking := [row[0] for row in await _SQL.lacking.fetch(connection, tables=tables)]:
        raise StartupError(f"this role lacks {_some(lacking)}; grant it, or let the role own the tables")


async def check_may_migrate(connection: Connection, tables: Sequence[str], *, from_nothing: bool) -> None:
    """Raises StartupError if a migration cannot succeed. `from_nothing` says that no migration was
    applied before."""
    await check_writable(connection)
    may = await _SQL.may_migrate.fetchrow(connection, tables=tables)
    assert may is not None, "it returns one row"
    if not may["may_create"]:
        raise StartupError("this role may not create tables; grant it create on schema public")
    if not may["has_pg_trgm"]:
        raise StartupError("the server lacks the extension pg_trgm; install PostgreSQL's contrib package there")
    if not may["may_extend"]:
        raise StartupError(
            "this role may not create the extension pg_trgm; grant it create on the database,"
            " or create the extension as a superuser"
        )
    if from_nothing and may["taken"]:
        raise StartupError(f"public has {_some(may['taken'])} of another program; give Jossiedb a database of its own")
    if may["not_owned"]:
        raise StartupError(f"another role owns {_some(may['not_owned'])}; migrate as that role, or as a member of it")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
