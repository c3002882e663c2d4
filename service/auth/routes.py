"""Routes for registration, login, logout and tokens."""

from typing import Any

from typing_extensions import TypedDict

from service.api.call import Call, Nothing, Reply
from service.api.routes import Route, route
from service.auth import commands, reads
from service.auth.commands import Device, NewUser, SignedIn
from service.auth.fields import UserView
from service.auth.models import Login, RefreshBody, Register
from service.auth.passwords import PASSWORDS
from service.auth.session_routes import ROUTES as SESSION_ROUTES
from service.auth.throttle import THROTTLE
from service.auth.tokens import TOKENS
from service.auth.user_routes import ROUTES as USER_ROUTES
from service.platform.clock import iso
from service.platform.errors import Forbidden

_USER_AGENT_CHARS = 500


class SignedInReply(TypedDict):
    user: UserView
    token: str
    refreshToken: str
    sessionId: str
    message: str


class SessionReply(TypedDict):
    valid: bool
    user: UserView
    sessionId: str
    expiresAt: str


class MessageReply(TypedDict):
    message: str


async def _register(call: Call[Register, Nothing]) -> Reply:
    if call.settings.registration == "closed":
        raise Forbidden("registration is closed; an admin can add you")
    body = call.body
    new = NewUser(body.username, body.email, body.full_name or body.username, body.password, role="worker")
    user = await commands.create_user(call.pool, call.request.app[PASSWORDS], call.origin, new)
    return Reply(user, status=201)


async def _login(call: Call[Login, Nothing]) -> Reply:
    app, body = call.request.app, call.body
    signed_in = await commands.login(
        call.pool,
        app[THROTTLE],
        app[PASSWORDS],
        app[TOKENS],
        call.origin,
        body.identifier,
        body.password,
        _device(call),
    )
    return Reply(_tokens(signed_in, "signed in"))


async def _refresh(call: Call[RefreshBody, Nothing]) -> Reply:
    signed_in = await commands.refresh(call.pool, call.request.app[TOKENS], call.origin, call.body.refreshToken)
    return Reply(_tokens(signed_in, "tokens renewed"))


async def _logout(call: Call[Nothing, Nothing]) -> Reply:
    await commands.logout(call.pool, call.origin, call.user)
    return Reply({"message": "signed out"})


async def _logout_all(call: Call[Nothing, Nothing]) -> Reply:
    ended = await commands.logout_all(call.pool, call.origin, call.user)
    return Reply({"message": f"signed out of {ended} session{'' if ended == 1 else 's'}"})


async def _profile(call: Call[Nothing, Nothing]) -> Reply:
    return Reply(await reads.profile(call.pool, call.user))


async def _verify_session(call: Call[Nothing, Nothing]) -> Reply:
    expires_at = await reads.session_expiry(call.pool, call.user)
    return Reply(
        {
            "valid": True,
            "user": await reads.profile(call.pool, call.user),
            "sessionId": str(call.user.session_id),
            "expiresAt": iso(expires_at),
        }
    )


def _tokens(signed_in: SignedIn, message: str) -> dict[str, Any]:
    return {
        "user": signed_in.user,
        "token": signed_in.token,
        "refreshToken": signed_in.refresh_token,
        "sessionId": str(signed_in.session_id),
        "message": message,
    }


def _device(call: Call[Login, Nothing]) -> Device:
    headers = call.request.headers
    return Device(
        _header_text(headers.get("User-Agent")), call.body.deviceInfo or _header_text(headers.get("X-Device-Info"))
    )


def _header_text(value: str | None) -> str | None:
    """The value of a header, cut to 500 characters. aiohttp decodes bytes that are not UTF-8 as
    lone surrogates. Events must not have these, so they are replaced."""
    if not value:
        return None
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:_USER_AGENT_CHARS]


ROUTES: tuple[Route, ...] = (
    *SESSION_ROUTES,
    *USER_ROUTES,
    route(
        "POST",
        "/auth/register",
        _register,
        "Register a worker",
        body=Register,
        returns=UserView,
        status=201,
        public=True,
    ),
    route("POST", "/auth/login", _login, "Sign in", body=Login, returns=SignedInReply, public=True),
    route(
        "POST",
        "/auth/refresh",
        _refresh,
        "Exchange a refresh token",
        body=RefreshBody,
        returns=SignedInReply,
        public=True,
    ),
    route("POST", "/auth/logout", _logout, "End this session", returns=MessageReply),
    route("POST", "/auth/logout-all", _logout_all, "End all sessions", returns=MessageReply),
    route("GET", "/auth/profile", _profile, "Who is signed in", returns=UserView),
    route("GET", "/auth/verify-session", _verify_session, "Whether the token is good", returns=SessionReply),
)
