"""Routes with which admins manage users and their sessions."""

from service.api.call import ADMIN, Call, Nothing, Reply, tagged
from service.api.paging import cursor_page_headers
from service.api.routes import Route, route
from service.auth import commands, reads, session_commands, user_commands
from service.auth.commands import NewUser
from service.auth.fields import SessionView, UserView
from service.auth.models import CreateUser, SessionQuery, UpdateUser, UserQuery
from service.auth.passwords import PASSWORDS
from service.auth.session_routes import page_of_sessions
from service.platform.errors import NotFound


async def _list(call: Call[Nothing, UserQuery]) -> Reply:
    users, ids, total = await reads.list_users(call.pool, call.query)
    return Reply(users, headers=cursor_page_headers(call.request, call.query, total, ids))


async def _create(call: Call[CreateUser, Nothing]) -> Reply:
    body = call.body
    new = NewUser(body.username, body.email, body.full_name or body.username, body.password, body.role, body.status)
    return tagged(await commands.create_user(call.pool, call.request.app[PASSWORDS], call.origin, new), status=201)


async def _get(call: Call[Nothing, Nothing]) -> Reply:
    return tagged(await reads.get_user(call.pool, call.path_id()))


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
    await reads.get_user(call.pool, call.path_id())
    return await page_of_sessions(call, call.path_id())


async def _revoke_session(call: Call[Nothing, Nothing]) -> Reply:
    await reads.get_user(call.pool, call.path_id())
    await session_commands.revoke(
        call.pool, call.origin, call.path_id(), call.path_id("sessionId"), of_other=NotFound("no session has this id")
    )
    return Reply(status=204)


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
