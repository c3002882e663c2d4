"""Reads users and sessions. No read opens a transaction."""

from datetime import datetime
from uuid import UUID

from typing_extensions import TypedDict

from service.api.call import Principal
from service.api.counts import Total, count, reached
from service.api.fields import containing
from service.api.paging import Newest
from service.auth.fields import SessionView, UserView, session_view, user_view
from service.auth.models import SessionQuery, UserQuery
from service.auth.rules import ENDED
from service.platform.clock import iso, iso_or_none
from service.platform.db import Pool
from service.platform.errors import NotFound, Unauthorized
from service.platform.queries import load

_AUTH = load("auth")
_USERS = load("users")
_SESSIONS = load("sessions")
MAX_DEVICES = 20
_OPEN = {"active": True, "ended": False, "all": None}


class DeviceStats(TypedDict):
    device: str
    sessions: int
    active: int
    last_used_at: str


class SessionStats(TypedDict):
    """Statistics of a user's sessions. `ended` counts sessions by the reason of their end.
    `expired` counts those that ran out. `devices` has at most 20, the last used first."""

    total: int
    active: int
    expired: int
    ended: dict[str, int]
    last_login: str | None
    devices: list[DeviceStats]


async def profile(pool: Pool, user: Principal) -> UserView:
    """The signed-in user. Raises Unauthorized if the user was removed meanwhile."""
    row = await _AUTH.user_by_id.fetchrow(pool, id=user.user_id)
    if row is None:
        raise Unauthorized(ENDED)
    return user_view(row)


async def session_expiry(pool: Pool, user: Principal) -> datetime:
    """The time when the session of this request expires. Raises Unauthorized if it was ended
    meanwhile."""
    session = await _AUTH.session.fetchrow(pool, session_id=user.session_id, user_id=user.user_id)
    if session is None:
        raise Unauthorized(ENDED)
    expires_at: datetime = session["expires_at"]
    return expires_at


async def get_user(pool: Pool, user_id: UUID) -> UserView:
    """The user with this id. Raises NotFound."""
    row = await _AUTH.user_by_id.fetchrow(pool, id=user_id)
    if row is None:
        raise NotFound("no user has this id")
    return user_view(row)


async def list_users(pool: Pool, query: UserQuery) -> tuple[list[UserView], list[UUID], Total]:
    """A page of users, the ids of its rows, and the total."""
    filters = {
        "role": query.role,
        "status": query.status,
        "pattern": containing(query.search) if query.search else None,
    }
    async with pool.acquire() as connection:
        rows = await _USERS.list_users.fetch(
            connection, after=query.after, skip=query.skip, limit=query.limit, **filters
        )
        total = await count(connection, _USERS.count_users, seen=reached(query.skip, len(rows)), **filters)
    return [user_view(row) for row in rows], [row["id"] for row in rows], total


async def list_sessions(
    pool: Pool, user: Principal, owner_id: UUID, query: SessionQuery
) -> tuple[list[SessionView], list[Newest], Total]:
    """A page of one user's sessions, the keys of its rows, and the total. `user` is the signed-in
    user, and `owner_id` the user whose sessions are listed."""
    is_open = _OPEN[query.status]
    async with pool.acquire() as connection:
        rows = await _SESSIONS.list_sessions.fetch(
            connection, user_id=owner_id, open=is_open, skip=query.skip, limit=query.limit, **query.before
        )
        seen = reached(query.skip, len(rows))
        total = await count(connection, _SESSIONS.count_sessions, seen=seen, user_id=owner_id, open=is_open)
    shown = [session_view(row, user.session_id) for row in rows]
    return shown, [(row["created_at"], row["id"]) for row in rows], total


async def session_stats(pool: Pool, user: Principal) -> SessionStats:
    async with pool.acquire() as connection:
        states = await _SESSIONS.states.fetch(connection, user_id=user.user_id)
        devices = await _SESSIONS.devices.fetch(connection, user_id=user.user_id, limit=MAX_DEVICES)
    counts = {row["state"]: row["sessions"] for row in states}
    last_login = max((row["last_login"] for row in states), default=None)
    return {
        "total": sum(counts.values()),
        "active": counts.pop("active", 0),
        "expired": counts.pop("expired", 0),
        "ended": counts,
        "last_login": iso_or_none(last_login),
        "devices": [{**dict(row), "last_used_at": iso(row["last_used_at"])} for row in devices],  # type: ignore[typeddict-item]  # the statement names the columns
    }
