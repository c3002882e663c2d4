"""Routes for a user's own sessions and password."""

from typing import Any
from uuid import UUID

from typing_extensions import TypedDict

from service.api.call import Call, Nothing, Reply
from service.api.paging import cursor_page_headers
from service.api.routes import Route, route
from service.auth import reads, session_commands
from service.auth.fields import SessionView
from service.auth.models import ChangePassword, SessionQuery
from service.auth.passwords import PASSWORDS
from service.auth.reads import SessionStats
from service.platform.errors import Forbidden


class PasswordReply(TypedDict):
    message: str
    endedSessions: int


async def page_of_sessions(call: Call[Any, SessionQuery], user_id: UUID) -> Reply:
    """A page of this user's sessions."""
    sessions, keys, total = await reads.list_sessions(call.pool, call.user, user_id, call.query)
    return Reply(sessions, headers=cursor_page_headers(call.request, call.query, total, keys))


async def _list(call: Call[Nothing, SessionQuery]) -> Reply:
    return await page_of_sessions(call, call.user.user_id)


async def _revoke(call: Call[Nothing, Nothing]) -> Reply:
    other = Forbidden("this session belongs to another user")
    await session_commands.revoke(call.pool, call.origin, call.user.user_id, call.path_id(), of_other=other)
    return Reply(status=204)


async def _stats(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(await reads.session_stats(call.pool, call.user))


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
