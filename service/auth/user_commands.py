"""Changes and removes users, for admins. Each command is one transaction."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from service.api.call import Principal
from service.auth import commands
from service.auth.fields import Row, UserView, user_view, who
from service.auth.passwords import Passwords
from service.auth.rules import FOREMAN, check_an_admin_remains
from service.events.catalogue import LocationUpdated, PasswordChanged, UserUpdated
from service.events.changes import diff
from service.mutation import Mutation, command
from service.platform.db import Pool
from service.platform.errors import Conflict, NotFound
from service.platform.queries import load
from service.records import Origin

_SQL = load("users")
_AUTH = load("auth")
ENTITY = "user"
_FIELDS = ("username", "email", "full_name", "role", "status")


class _AssignedMeanwhile(Exception):
    """The user was assigned to a location that this transaction has not locked. The transaction
    must be begun again."""


async def edit(
    pool: Pool,
    passwords: Passwords,
    origin: Origin,
    by: Principal,
    user_id: UUID,
    values: Mapping[str, Any],
    password: str | None,
) -> UserView:
    """Changes a user. `values` are the fields that were sent. If they change nothing, nothing is
    written.

    A suspension ends all sessions of the user. A new password ends all but the session of this
    request.
    """
    password_hash = None if password is None else await passwords.hash(password)
    while True:
        try:
            return await _edit(pool, origin, by, user_id, values, password_hash)
        except _AssignedMeanwhile:
            continue


@command("update")
async def _edit(
    change: Mutation, by: Principal, user_id: UUID, values: Mapping[str, Any], password_hash: str | None
) -> UserView:
    if password_hash is None and values.keys().isdisjoint({"role", "status"}):
        return await _rename(change, user_id, values)
    before, locked = await _lock(change, user_id)
    after = _changed(change, before, values)
    if after == before and password_hash is None:
        return user_view(before)
    check_an_admin_remains(
        role=before["role"],
        status=before["status"],
        new_role=after["role"],
        new_status=after["status"],
        other_admins=locked.other_admins,
    )
    if after != before:
        _store(change, before, after)
    extra: dict[str, Any] = {}
    if password_hash is not None:
        await _AUTH.set_password_hash.execute(change, id=user_id, password_hash=password_hash)
        change.emit(PasswordChanged(**who(after)))
        extra["password_changed"] = True
    suspended = before["status"] == "active" and after["status"] == "suspended"
    if suspended or password_hash is not None:
        reason = "suspended" if suspended else "password"
        keep = None if suspended else by.session_id
        extra["ended_sessions"] = await commands.end_sessions(change, after, reason, keep=keep)
    if before["status"] == "suspended" and after["status"] == "active":
        await _SQL.wake_lanes.execute(change, owner_id=user_id)
    if before["role"] == FOREMAN and after["role"] != FOREMAN:
        extra["unassigned_locations"] = await _unassign(change, user_id, locked.locations)
    change.audit(ENTITY, user_id, user_view(before), {**user_view(after), **extra})
    return user_view(after)


async def _rename(change: Mutation, user_id: UUID, values: Mapping[str, Any]) -> UserView:
    """Changes the names or the address of a user, which concerns nothing else."""
    row = await change.read(_SQL.get_to_change, _SQL.lock, id=user_id)
    if row is None:
        raise NotFound("no user has this id")
    change.check_match(user_view(row))
    before = dict(row)
    after = _changed(change, before, values)
    if after != before:
        _store(change, before, after)
        change.audit(ENTITY, user_id, user_view(before), user_view(after))
    return user_view(after)


def _changed(change: Mutation, before: Row, values: Mapping[str, Any]) -> dict[str, Any]:
    """The user after the change. Equal to `before` if that changes nothing."""
    after = {**before, **values}
    if after != before:
        after["updated_at"] = change.later_than(before["updated_at"])
    return after


def _store(change: Mutation, before: Row, after: Row) -> None:
    wanted = {name: after[name] for name in _FIELDS}
    change.write(_SQL.update_user, refused=commands.taken, id=after["id"], updated_at=after["updated_at"], **wanted)
    change.emit(UserUpdated(**who(after), changes=diff(user_view(before), user_view(after))))


async def delete(pool: Pool, origin: Origin, user_id: UUID) -> None:
    """Removes a user. Raises Conflict if the user owns webhooks or has a history. Such a user can
    be suspended instead."""
    while True:
        try:
            await _delete(pool, origin, user_id)
            return
        except _AssignedMeanwhile:
            continue


@command("delete")
async def _delete(change: Mutation, user_id: UUID) -> None:
    user, locked = await _lock(change, user_id)
    check_an_admin_remains(
        role=user["role"],
        status=user["status"],
        new_role=None,
        new_status=None,
        other_admins=locked.other_admins,
    )
    change.emit(UserUpdated(**who(user), changes={"status": {"from": user["status"], "to": "deleted"}}))
    await commands.end_sessions(change, user, "revoked")
    await _unassign(change, user_id, locked.locations)
    try:
        await _SQL.delete_user.execute(change, id=user_id)
    except (asyncpg.ForeignKeyViolationError, asyncpg.RestrictViolationError) as error:
        raise Conflict(
            f"this user is still referred to by {error.table_name or 'others'}; suspend them instead of deleting them"
        ) from None
    change.audit(ENTITY, user_id, user_view(user), None)


class _Locked:
    """The rows that a change of a user has locked besides the user's: the locations assigned to the
    user, and the other active admins, which are counted."""

    def __init__(self, locations: set[UUID], other_admins: int) -> None:
        self.locations = locations
        self.other_admins = other_admins


async def _lock(change: Mutation, user_id: UUID) -> tuple[dict[str, Any], _Locked]:
    locations = await _SQL.lock_assigned_locations.fetch(change, id=user_id)
    rows = {row["id"]: dict(row) for row in await change.lock_several(_SQL.lock_with_admins, id=user_id)}
    user = rows.pop(user_id, None)
    if user is None:
        raise NotFound("no user has this id")
    change.check_match(user_view(user))
    return user, _Locked({row["id"] for row in locations}, len(rows))


async def _unassign(change: Mutation, user_id: UUID, locked: set[UUID]) -> list[str]:
    """Remove the user from the foremen of every location. Emits an event for each location, and
    returns their ids. Raises _AssignedMeanwhile."""
    assigned = await _SQL.assignments.fetch(change, id=user_id)
    if not {row["id"] for row in assigned} <= locked:
        raise _AssignedMeanwhile
    if assigned:
        await _SQL.unassign.execute(change, id=user_id)
    for row in assigned:
        foremen = [str(foreman) for foreman in row["foremen"]]
        changes = diff({"foremen": foremen}, {"foremen": [id for id in foremen if id != str(user_id)]})
        change.emit(LocationUpdated(locationId=row["id"], name=row["name"], changes=changes))
    return [str(row["id"]) for row in assigned]
