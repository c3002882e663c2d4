"""Registers users, signs them in and out, and refreshes tokens. Each command is one transaction."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from service.api.call import Principal
from service.api.slices import in_slices
from service.auth.fields import Row, UserView, user_view, who
from service.auth.passwords import Passwords
from service.auth.rules import ENDED, SUSPENDED, Refresh, SessionState, decide_refresh, refusal
from service.auth.throttle import Throttle
from service.auth.tokens import Claims, Tokens
from service.events.catalogue import SessionRefreshed, UserLogin, UserLogout, UserRegistered
from service.mutation import Mutation, command
from service.platform.db import Pool
from service.platform.errors import Conflict, Forbidden, Unauthorized
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.server_clock import SERVER_CLOCK
from service.records import Origin

_SQL = load("auth")
_WRONG = "the user name, the e-mail address or the password is wrong"
_TAKEN = {"users_username_key": ("username", "user name"), "users_email_key": ("email", "e-mail address")}


@dataclass(frozen=True, slots=True)
class NewUser:
    username: str
    email: str
    full_name: str
    password: str
    role: str
    status: str = "active"


@dataclass(frozen=True, slots=True)
class Device:
    """The program that uses a session, as the client describes it."""

    user_agent: str | None
    device_info: str | None


@dataclass(frozen=True, slots=True)
class SignedIn:
    user: UserView
    session_id: UUID
    token: str
    refresh_token: str


async def create_user(pool: Pool, passwords: Passwords, origin: Origin, new: NewUser) -> UserView:
    """Creates a user, and returns it as the API shows it. Raises Conflict if the user name or the
    e-mail address is taken."""
    return await _create_user(pool, origin, new, await passwords.hash(new.password))


@command("register")
async def _create_user(change: Mutation, new: NewUser, password_hash: str) -> UserView:
    user: dict[str, Any] = {
        "id": new_id(),
        "username": new.username,
        "email": new.email,
        "full_name": new.full_name,
        "role": new.role,
        "status": new.status,
        "created_at": change.now,
    }
    change.write(_SQL.insert_user, refused=taken, **user, password_hash=password_hash)
    change.emit(UserRegistered(**who(user)))
    created = user_view({**user, "updated_at": change.now})
    change.audit("user", user["id"], None, created)
    return created


async def login(
    pool: Pool,
    throttle: Throttle,
    passwords: Passwords,
    tokens: Tokens,
    origin: Origin,
    identifier: str,
    password: str,
    device: Device,
) -> SignedIn:
    """Begins a session. `identifier` is a user name or an e-mail address.

    Raises Unauthorized if there is no such user, or if the password is wrong. The answer is the
    same in both cases. Raises Forbidden if the user is suspended. Raises TooManyRequests after ten
    failures for this identifier from this IP address within 15 minutes.
    """
    signed_in = None
    async with throttle.admit(pool, identifier, origin.ip_address or ""):
        while signed_in is None:
            signed_in = await _login(pool, passwords, tokens, origin, identifier, password, device)
    return signed_in


async def _login(
    pool: Pool, passwords: Passwords, tokens: Tokens, origin: Origin, identifier: str, password: str, device: Device
) -> SignedIn | None:
    """Like login, but returns None if the hash has changed since it was verified. Then the password
    was changed, or another login has renewed the hash."""
    found = await _SQL.find_login.fetchrow(pool, identifier=identifier)
    right = await passwords.verify(found["password_hash"] if found else None, password)
    if found is None or not right:
        raise Unauthorized(_WRONG)
    outdated = passwords.is_outdated(found["password_hash"])
    return await _begin_session(
        pool,
        replace(origin, user_id=found["id"]),
        tokens,
        identifier,
        verified=found["password_hash"],
        renewed=await passwords.hash(password) if outdated else None,
        device=device,
    )


@command("login")
async def _begin_session(
    change: Mutation, tokens: Tokens, identifier: str, *, verified: str, renewed: str | None, device: Device
) -> SignedIn | None:
    """`verified` is the hash that the password matches, and `renewed` one to put in its place.
    Returns None if `verified` is not the hash of the user any more."""
    ip_address = change.origin.ip_address
    row = await _SQL.lock_login.fetchrow(change, id=change.origin.user_id)
    if row is None or row["password_hash"] != verified:
        return None
    if row["status"] != "active":
        raise Forbidden(SUSPENDED)
    await _SQL.forget_login_failures.execute(change, identifier=identifier, ip_address=ip_address or "")
    if renewed is not None:
        await _SQL.set_password_hash.execute(change, id=row["id"], password_hash=renewed)
    session = await _SQL.insert_session.fetchrow(
        change,
        user_id=row["id"],
        lifetime=tokens.refresh_lifetime,
        user_agent=device.user_agent,
        ip_address=ip_address,
        device_info=device.device_info,
    )
    assert session is not None
    change.emit(
        UserLogin(
            **who(row),
            userAgent=device.user_agent,
            ipAddress=ip_address,
            deviceInfo=device.device_info,
            timestamp=change.now,
        )
    )
    change.audit("session", session["id"], None, {"user_id": row["id"], "expires_at": session["expires_at"]})
    return _signed_in(tokens, user_view(row), row["id"], session["id"], 1, session["now"])


async def refresh(pool: Pool, tokens: Tokens, origin: Origin, refresh_token: str) -> SignedIn:
    """Issues new tokens of the same session. If the refresh token was used before, the session is
    ended. Raises Unauthorized."""
    claims = tokens.read_refresh(refresh_token)
    signed_in = await _refresh(pool, replace(origin, user_id=claims.user_id), tokens, claims)
    if signed_in is None:
        # An exception inside the command would undo the end of the session. So it is raised here.
        raise Unauthorized("this refresh token was used before; its session has been ended, sign in again")
    return signed_in


@command("refresh")
async def _refresh(change: Mutation, tokens: Tokens, claims: Claims) -> SignedIn | None:
    """Returns None if the token was used before. Then the session is ended."""
    row = await _SQL.lock_session.fetchrow(change, session_id=claims.session_id, user_id=claims.user_id)
    state = None if row is None else SessionState(row["ended"], row["expired"], row["user_active"], row["generation"])
    if row is not None:
        claims.check(row["now"], steady=SERVER_CLOCK.steady)
    decision = decide_refresh(state, claims.generation)
    if row is None or decision is Refresh.REFUSE:
        raise Unauthorized(refusal(state) or "the refresh token is not valid")
    if decision is Refresh.END_SESSION:
        await end_session(change, claims.session_id, row, "refresh-reuse")
        return None
    rotated = await _SQL.rotate_session.fetchrow(change, session_id=claims.session_id, lifetime=tokens.refresh_lifetime)
    assert rotated is not None, "its row is locked"
    generation = rotated["refresh_generation"]
    change.emit(SessionRefreshed(**who(row), sessionId=claims.session_id))
    change.audit("session", claims.session_id, {"generation": claims.generation}, {"generation": generation})
    return _signed_in(tokens, user_view(row), claims.user_id, claims.session_id, generation, rotated["now"])


@command("logout")
async def logout(change: Mutation, user: Principal) -> None:
    """End the session of this request. Raises Unauthorized if another request has ended it
    first."""
    if not await end_session(change, user.session_id, as_owner(user), "logout"):
        raise Unauthorized(ENDED)


@command("logout-all")
async def logout_all(change: Mutation, user: Principal) -> int:
    """End every session of the user, also that of this request. Returns how many there were. Raises
    Unauthorized if there are none any more."""
    ended = await end_sessions(change, as_owner(user), "logout-all")
    if not ended:
        raise Unauthorized(ENDED)
    change.audit("user", user.user_id, {"sessions": ended}, {"sessions": []})
    return len(ended)


def as_owner(user: Principal) -> dict[str, Any]:
    """The signed-in user, as a row that `end_session`, `end_sessions` and `who` take."""
    return {"id": user.user_id, "username": user.username, "email": user.email, "role": user.role}


def taken(error: asyncpg.IntegrityConstraintViolationError) -> Exception:
    """The problem to raise when a unique index of users refuses a row."""
    if error.constraint_name not in _TAKEN:
        return error
    field, words = _TAKEN[error.constraint_name]
    return Conflict.at(f"/{field}", f"this {words} is taken")


async def end_session(change: Mutation, session_id: UUID, owner: Row, reason: str) -> bool:
    """Ends a session. Returns False if it has ended already: if two requests end it, only one of
    them gets True."""
    if await _SQL.end_session.fetchval(change, session_id=session_id, reason=reason) is None:
        return False
    change.emit(UserLogout(**who(owner), timestamp=change.now))
    change.audit("session", session_id, {"ended": None}, {"ended": reason})
    return True


async def end_sessions(change: Mutation, owner: Row, reason: str, *, keep: UUID | None = None) -> list[str]:
    """End every open session of the user except `keep`. Emits an event for each, and returns their
    ids."""
    ended = await _SQL.end_sessions.fetch(change, user_id=owner["id"], reason=reason, keep=keep)
    # There may be any number of sessions.
    await in_slices(ended, lambda _: change.emit(UserLogout(**who(owner), timestamp=change.now)))
    return [str(row["id"]) for row in ended]


def _signed_in(
    tokens: Tokens, user: UserView, user_id: UUID, session_id: UUID, generation: int, now: datetime
) -> SignedIn:
    """`now` is the time when the session was begun or refreshed, by the database's clock."""
    refresh_token = tokens.refresh(user_id, session_id, generation, now)
    return SignedIn(user, session_id, tokens.access(user_id, session_id, now), refresh_token)
