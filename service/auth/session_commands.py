"""Ends one session of a user, and changes a user's password. Each command is one transaction."""

from uuid import UUID

from service.api.call import Principal
from service.auth import commands
from service.auth.fields import who
from service.auth.passwords import Passwords
from service.events.catalogue import PasswordChanged
from service.mutation import Mutation, command
from service.platform.db import Pool
from service.platform.errors import NotFound, Problem, Unauthorized, Unprocessable
from service.platform.queries import load
from service.records import Origin

_SQL = load("sessions")
_AUTH = load("auth")


@command("revoke")
async def revoke(change: Mutation, owner_id: UUID, session_id: UUID, *, of_other: Problem) -> None:
    """End an open session of the user `owner_id`. Raises NotFound if no open session has the id,
    and `of_other` if the session belongs to another user."""
    owner = await _SQL.owner.fetchrow(change, session_id=session_id)
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
        verified = await _AUTH.password_hash.fetchval(pool, id=user.user_id)
        if not await passwords.verify(verified, current):
            raise Unprocessable.at("/currentPassword", "the current password is wrong")
        ended = await _change_password(pool, origin, user, verified, new_hash)
    return ended


@command("password")
async def _change_password(change: Mutation, user: Principal, verified: str, new_hash: str) -> int | None:
    """Returns None if `verified`, the hash that the current password matches, is not the hash of
    the user any more."""
    row = await _AUTH.lock_login.fetchrow(change, id=user.user_id)
    if row is None or row["status"] != "active":
        raise Unauthorized("the session has ended; sign in again")
    if row["password_hash"] != verified:
        return None
    await _AUTH.set_password_hash.execute(change, id=user.user_id, password_hash=new_hash)
    change.emit(PasswordChanged(**who(row)))
    ended = await commands.end_sessions(change, row, "password", keep=user.session_id)
    change.audit("user", user.user_id, {"sessions": ended}, {"password_changed": True, "sessions": []})
    return len(ended)
