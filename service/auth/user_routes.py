"""Users, administered over HTTP."""

from typing import Annotated, Any

from pydantic import Field

from service.api.call import ADMIN, Call, Nothing, Reply, tagged
from service.api.counts import count, reached
from service.api.fields import Body, Name, Text, containing
from service.api.paging import IdPage, cursor_page_headers
from service.api.routes import Route, route
from service.auth import commands, session_commands, user_commands
from service.auth.commands import NewUser
from service.auth.fields import Email, Password, Role, SessionView, Username, UserStatus, UserView, user_view
from service.auth.passwords import PASSWORDS
from service.auth.session_routes import SessionQuery, page_of_sessions
from service.platform.errors import NotFound
from service.platform.queries import load

_SQL = load("users")
_AUTH = load("auth")
# The default of a field that a PUT may leave out. It is never looked at: model_fields_set tells which fields were sent.
_ABSENT: Any = Field(default_factory=lambda: None)


class UserQuery(IdPage):
    """`search` looks into user name, e-mail address and full name."""

    role: Role | None = None
    status: UserStatus | None = None
    search: Annotated[Text, Field(max_length=255)] | None = None


class CreateUser(Body):
    username: Username
    email: Email
    password: Password
    full_name: Name | None = None
    role: Role = "worker"
    status: UserStatus = "active"


class UpdateUser(Body):
    """Any subset."""

    username: Username = _ABSENT
    email: Email = _ABSENT
    full_name: Name = _ABSENT
    role: Role = _ABSENT
    status: UserStatus = _ABSENT
    password: Password = _ABSENT


async def _list(call: Call[Nothing, UserQuery]) -> Reply:
    query = call.query
    filters = {
        "role": query.role,
        "status": query.status,
        "pattern": containing(query.search) if query.search else None,
    }
    async with call.pool.acquire() as connection:
        rows = await _SQL.list_users.fetch(connection, after=query.after, skip=query.skip, limit=query.limit, **filters)
        total = await count(connection, _SQL.count_users, seen=reached(query.skip, len(rows)), **filters)
    return Reply(
        [user_view(row) for row in rows],
        headers=cursor_page_headers(call.request, query, total, [row["id"] for row in rows]),
    )


async def _create(call: Call[CreateUser, Nothing]) -> Reply:
    body = call.body
    new = NewUser(body.username, body.email, body.full_name or body.username, body.password, body.role, body.status)
    return tagged(await commands.create_user(call.pool, call.request.app[PASSWORDS], call.origin, new), status=201)


async def _get(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(await _user(call))


async def _update(call: Call[UpdateUser, Nothing]) -> Reply:
    values = call.body.model_dump(exclude_unset=True)
    password = values.pop("password", None)
    user = await user_commands.edit(
        call.pool, call.request.app[PASSWORDS], call.origin, call.user, call.path_id(), values, password
    )
    return tagged(user)


async def _delete(call: Call[Nothing, Nothing]) -> Reply:
    await user_commands.delete(call.pool, call.origin, call.path_id())
    return Reply(status=204)


async def _list_sessions(call: Call[Nothing, SessionQuery]) -> Reply:
    await _user(call)
    return await page_of_sessions(call, call.path_id())


async def _revoke_session(call: Call[Nothing, Nothing]) -> Reply:
    await _user(call)
    await session_commands.revoke(
        call.pool, call.origin, call.path_id(), call.path_id("sessionId"), of_other=NotFound("no session has this id")
    )
    return Reply(status=204)


async def _user(call: Call[Any, Any]) -> UserView:
    row = await _AUTH.user_by_id.fetchrow(call.pool, id=call.path_id())
    if row is None:
        raise NotFound("no user has this id")
    return user_view(row)


_ADMINS = (ADMIN,)
ROUTES: tuple[Route, ...] = (
    route("GET", "/users", _list, "List users", query=UserQuery, returns=list[UserView], roles=_ADMINS),
    route("POST", "/users", _create, "Create a user", body=CreateUser, returns=UserView, status=201, roles=_ADMINS),
    route("GET", "/users/{id}", _get, "Get a user", returns=UserView, roles=_ADMINS),
    route("PUT", "/users/{id}", _update, "Change a user", body=UpdateUser, returns=UserView, roles=_ADMINS),
    route("DELETE", "/users/{id}", _delete, "Remove a user without webhooks or history", status=204, roles=_ADMINS),
    route(
        "GET",
        "/users/{id}/sessions",
        _list_sessions,
        "List a user's sessions",
        query=SessionQuery,
        returns=list[SessionView],
        roles=_ADMINS,
    ),
    route(
        "DELETE",
        "/users/{id}/sessions/{sessionId}",
        _revoke_session,
        "End a session of a user",
        status=204,
        roles=_ADMINS,
    ),
)
