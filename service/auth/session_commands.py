"""Ends one session of a user, and changes a user's password. Each command is one transaction."""

from uuid import UUID

from service.api.call import Principal
from service.auth import commands
from service.auth.fields import who
from service.auth.passwords import Passwords
from service.events.catalogue import PasswordChanged
from service.mutation import Origin, mutation
from service.platform.db import Pool
from service.platform.errors import NotFound, Problem, Unauthorized, Unprocessable
from service.platform.queries import load

_SQL = load("sessions")
_AUTH = load("auth")


async def revoke(pool: Pool, origin: Origin, owner_id: UUID, session_id: UUID, *, of_other: Problem) -> None:
    """End an open session of the user `owner_id`. Raises NotFound if no open session has the id,
    and `of_other` if the session belongs to another user."""
    async with mutation(pool, origin, "revoke") as change:
        owner = await _SQL.owner.fetchrow(change.connection, session_id=session_id)
        if owner is not None and owner["id"] != owner_id:
            raise of_other
        if owner is None or not owner["open"]:
            raise NotFound("no open session has this id")
        change.check_match_untagged()
        if not await commands.end_session(change, session_id, owner, "revoked"):
            raise NotFound("no open session has this id")


async def change_password(
    pool: Pool, passwords: Passwords, origin: Origin, user: Principal, current: str, new: str
) -> int:
    """Changes the password, ends the user's other sessions, and returns how many there were. Raises
    Unprocessable if `current` is not the current password."""
    new_hash = await passwords.hash(new)
    ended = None
    while ended is None:
        ended = await _change_password(pool, passwords, origin, user, current, new_hash)
    return ended


async def _change_password(
    pool: Pool, passwords: Passwords, origin: Origin, user: Principal, current: str, new_hash: str
) -> int | None:
    """Like change_password, but returns None if the hash has changed since it was verified."""
    verified = await _AUTH.password_hash.fetchval(pool, id=user.user_id)
    if not await passwords.verify(verified, current):
        raise Unprocessable.at("/currentPassword", "the current password is wrong")
    async with mutation(pool, origin, "password") as change:
        row = await _AUTH.lock_login.fetchrow(change.connection, id=user.user_id)
        if row is None or row["status"] != "active":
            raise Unauthorized("the session has ended; sign in again")
        if row["password_hash"] != verified:
            return None
        await _AUTH.set_password_hash.execute(change.connection, id=user.user_id, password_hash=new_hash)
        change.emit(PasswordChanged(**who(row)))
        ended = await commands.end_sessions(change, row, "password", keep=user.session_id)
        change.audit("user", user.user_id, {"sessions": ended}, {"password_changed": True, "sessions": []})
    return len(ended)
