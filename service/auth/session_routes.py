"""A user's own sessions and password over HTTP."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from service.api.call import Call, Nothing, Reply
from service.api.counts import count, reached
from service.api.fields import Body, Text
from service.api.paging import NewestPage, cursor_page_headers
from service.api.routes import Route, route
from service.auth import session_commands
from service.auth.fields import Password, SessionView, session_view
from service.auth.passwords import PASSWORDS
from service.platform.clock import iso, iso_or_none
from service.platform.errors import Forbidden
from service.platform.queries import load

_SQL = load("sessions")
MAX_DEVICES = 20
_OPEN = {"active": True, "ended": False, "all": None}


class SessionQuery(NewestPage):
    status: Literal["active", "ended", "all"] = "active"


class ChangePassword(Body):
    currentPassword: Annotated[Text, Field(max_length=200)]
    newPassword: Password


class PasswordReply(TypedDict):
    message: str
    endedSessions: int


class DeviceStats(TypedDict):
    device: str
    sessions: int
    active: int
    last_used_at: str


class SessionStats(TypedDict):
    """`ended` counts by reason; sessions that ran out are `expired`. Devices by last use, at most 20."""

    total: int
    active: int
    expired: int
    ended: dict[str, int]
    last_login: str | None
    devices: list[DeviceStats]


async def page_of_sessions(call: Call[Any, SessionQuery], user_id: UUID) -> Reply:
    """A page of this user's sessions."""
    query, is_open = call.query, _OPEN[call.query.status]
    async with call.pool.acquire() as connection:
        rows = await _SQL.list_sessions.fetch(
            connection, user_id=user_id, open=is_open, skip=query.skip, limit=query.limit, **query.before
        )
        seen = reached(query.skip, len(rows))
        total = await count(connection, _SQL.count_sessions, seen=seen, user_id=user_id, open=is_open)
    shown = [session_view(row, call.user.session_id) for row in rows]
    keys = [(row["created_at"], row["id"]) for row in rows]
    return Reply(shown, headers=cursor_page_headers(call.request, query, total, keys))


async def _list(call: Call[Nothing, SessionQuery]) -> Reply:
    return await page_of_sessions(call, call.user.user_id)


async def _revoke(call: Call[Nothing, Nothing]) -> Reply:
    other = Forbidden("this session belongs to another user")
    await session_commands.revoke(call.pool, call.origin, call.user.user_id, call.path_id(), of_other=other)
    return Reply(status=204)


async def _stats(call: Call[Nothing, Nothing]) -> Reply:
    async with call.pool.acquire() as connection:
        states = await _SQL.states.fetch(connection, user_id=call.user.user_id)
        devices = await _SQL.devices.fetch(connection, user_id=call.user.user_id, limit=MAX_DEVICES)
    counts = {row["state"]: row["sessions"] for row in states}
    last_login = max((row["last_login"] for row in states), default=None)
    stats: SessionStats = {
        "total": sum(counts.values()),
        "active": counts.pop("active", 0),
        "expired": counts.pop("expired", 0),
        "ended": counts,
        "last_login": iso_or_none(last_login),
        "devices": [{**dict(row), "last_used_at": iso(row["last_used_at"])} for row in devices],  # type: ignore[typeddict-item]  # the statement names the columns
    }
    return Reply(stats)


async def _password(call: Call[ChangePassword, Nothing]) -> Reply:
    ended = await session_commands.change_password(
        call.pool,
        call.request.app[PASSWORDS],
        call.origin,
        call.user,
        call.body.currentPassword,
        call.body.newPassword,
    )
    return Reply({"message": "password changed", "endedSessions": ended})


ROUTES: tuple[Route, ...] = (
    route("GET", "/auth/sessions", _list, "List your sessions", query=SessionQuery, returns=list[SessionView]),
    route("DELETE", "/auth/sessions/{id}", _revoke, "End one of your sessions", status=204),
    route("GET", "/auth/session-stats", _stats, "Count your sessions", returns=SessionStats),
    route(
        "POST",
        "/auth/password",
        _password,
        "Change your password, and end your other sessions",
        body=ChangePassword,
        returns=PasswordReply,
    ),
)
