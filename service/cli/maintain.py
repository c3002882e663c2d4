"""Works on a database for the command line: migrates it, creates users, begins an epoch."""

import asyncpg
from pydantic import ValidationError

from service.api.problems import invalid
from service.auth import commands
from service.auth.commands import NewUser
from service.auth.fields import UserView
from service.auth.models import Register
from service.auth.passwords import Passwords
from service.platform.clock import iso
from service.platform.db import AWAY, connect, open_pool
from service.platform.errors import StartupError
from service.platform.lifecycle import database, require_migrated
from service.platform.migrate import Applied, migrate
from service.platform.queries import load
from service.platform.settings import Settings
from service.records import Origin

_EPOCH = load("epoch")


async def migrate_database(settings: Settings) -> Applied:
    """Migrates the database, and returns what was applied. Raises StartupError."""
    async with database(settings) as url:
        connection = await connect(url, application_name="jossiedb migrate")
        try:
            return await migrate(connection)
        except (*AWAY, asyncpg.PostgresError) as error:
            raise StartupError(f"the database cannot be migrated: {error or type(error).__name__}") from None
        finally:
            await connection.close()


async def begin_epoch(settings: Settings) -> tuple[str, int]:
    """Begins a new epoch, without asking which epoch the running processes know. Returns the time
    when it began, and its base. Raises StartupError."""
    async with database(settings) as url:
        await require_migrated(url)
        connection = await connect(url, application_name="jossiedb restored")
        try:
            await _EPOCH.begin.fetchval(connection, expected=None, above=None, why="jossiedb restored", if_moved=False)
            present = await _EPOCH.present.fetchrow(connection)
        except (*AWAY, asyncpg.PostgresError) as error:
            raise StartupError(f"no new epoch could be begun: {error or type(error).__name__}") from None
        finally:
            await connection.close()
    assert present is not None, "its row was locked"
    return iso(present["begun_at"]), present["base"]


async def create_user(
    settings: Settings, username: str, email: str, full_name: str, role: str, password: str
) -> UserView:
    """Creates a user of any role. Raises StartupError if a field is not valid, and Conflict if the
    user name or the e-mail address is taken."""
    new = _valid(username, email, full_name, role, password)
    async with database(settings) as url:
        await require_migrated(url)
        pool = await open_pool(url, application_name="jossiedb users", size=1)
        try:
            return await commands.create_user(pool, Passwords(), Origin(), new)
        finally:
            await pool.close()


def _valid(username: str, email: str, full_name: str, role: str, password: str) -> NewUser:
    try:
        # The rules and the messages are the same as over HTTP.
        Register(username=username, email=email, full_name=full_name, password=password)
    except ValidationError as error:
        problems = (f"{problem.pointer.removeprefix('/')}: {problem.detail}" for problem in invalid(error).errors)
        raise StartupError("; ".join(problems)) from None
    return NewUser(username, email, full_name, password, role)
