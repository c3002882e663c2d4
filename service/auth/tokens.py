"""Issues and checks tokens. They are signed with HS256. Their times are the database's.

A token is valid only while its session in the database is.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

import jwt
from aiohttp import web

from service.api.call import POOL, Principal
from service.auth.last_used import LAST_USED
from service.auth.rules import ENDED, SessionState, refusal
from service.platform.errors import Unauthorized
from service.platform.ids import parse_id
from service.platform.queries import load
from service.platform.server_clock import SERVER_CLOCK
from service.platform.settings import Settings

ALGORITHM = "HS256"
_SQL = load("auth")
# PyJWT must not check times, because this host's clock may differ from the database's.
# `Claims.check` does that later.
_OPTIONS: Any = {"require": ["sub", "sid", "typ", "iat", "exp"], "verify_iat": False, "verify_exp": False}
# How many tokens a process knows to have a valid signature.
KEPT = 4096
# Another API process may take the database's time to be a little later than this one does.
_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token. `name` is the word for it in messages. `generation` is 0 in an access
    token."""

    name: str
    user_id: UUID
    session_id: UUID
    generation: int
    issued_at: datetime
    expires_at: datetime

    def check(self, now: datetime, *, steady: bool) -> None:
        """Raises Unauthorized if the token has expired at `now`, by the database's clock.

        `steady` says that this clock is known to have run steadily. Then a token that was issued in
        the future comes from a time when the clock was ahead. It would last too long, so it is
        refused.
        """
        if self.expires_at <= now:
            raise Unauthorized(f"the {self.name} has expired")
        if steady and self.issued_at > now + _AHEAD:
            raise Unauthorized(f"the {self.name} was issued while a clock was wrong; sign in again")


class Tokens:
    """Issues and reads tokens. A session lasts for `refresh_lifetime`, too, unless it is
    refreshed."""

    def __init__(self, key: str, lifetime: timedelta, refresh_lifetime: timedelta) -> None:
        self._key = key
        self._lifetime = lifetime
        self.refresh_lifetime = refresh_lifetime
        # A token's claims never change, and a client sends the same token with each request. Tokens
        # that are not valid are not kept.
        self._claims_of = lru_cache(maxsize=KEPT)(self._verified)

    @classmethod
    def of(cls, settings: Settings) -> "Tokens":
        return cls(settings.jwt_key(), settings.jwt_expires_in, settings.jwt_refresh_expires_in)

    def access(self, user_id: UUID, session_id: UUID, now: datetime | None = None) -> str:
        """An access token. `now` is the time when the session was begun or refreshed, by the
        database's clock. If it is None, SERVER_CLOCK gives the time."""
        return self._issue("access", user_id, session_id, now, self._lifetime, {})

    def refresh(self, user_id: UUID, session_id: UUID, generation: int, now: datetime | None = None) -> str:
        return self._issue("refresh", user_id, session_id, now, self.refresh_lifetime, {"gen": generation})

    def read_access(self, token: str) -> Claims:
        """Raises Unauthorized if this is no access token with a valid signature. Checks no
        times."""
        return self._claims_of(token, "access")

    def read_refresh(self, token: str) -> Claims:
        """Like read_access, for a refresh token."""
        return self._claims_of(token, "refresh")

    def _issue(
        self,
        kind: Literal["access", "refresh"],
        user_id: UUID,
        session_id: UUID,
        now: datetime | None,
        lifetime: timedelta,
        more: dict[str, int],
    ) -> str:
        now = now or SERVER_CLOCK.now()
        claims = {"sub": str(user_id), "sid": str(session_id), "typ": kind, "iat": now, "exp": now + lifetime, **more}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def _verified(self, token: str, kind: Literal["access", "refresh"]) -> Claims:
        name = "token" if kind == "access" else "refresh token"
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM], options=_OPTIONS)
            issued_at, expires_at = (datetime.fromtimestamp(int(claims[when]), UTC) for when in ("iat", "exp"))
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            raise Unauthorized(f"the {name} is not valid") from None
        user_id, session_id = parse_id(str(claims["sub"])), parse_id(str(claims["sid"]))
        generation = claims.get("gen", 0)
        if claims["typ"] != kind or user_id is None or session_id is None or not isinstance(generation, int):
            raise Unauthorized(f"the {name} is not valid")
        return Claims(name, user_id, session_id, generation, issued_at, expires_at)


TOKENS = web.AppKey("tokens", Tokens)


async def authenticate(request: web.Request) -> Principal:
    """The user of the request's token. Raises Unauthorized.

    The session is read from the database at each request, so that a logout counts at once in all
    API processes.
    """
    claims = request.app[TOKENS].read_access(_bearer(request))
    asked = time.monotonic()
    row = await _SQL.session.fetchrow(request.app[POOL], session_id=claims.session_id, user_id=claims.user_id)
    if row is not None:
        SERVER_CLOCK.observe(row["now"], asked, time.monotonic())
        claims.check(row["now"], steady=SERVER_CLOCK.steady)
    why = refusal(
        None if row is None else SessionState(row["ended"], row["expired"], row["user_active"], row["generation"])
    )
    if row is None or why is not None:
        raise Unauthorized(why or ENDED)
    if row["stale"]:
        request.app[LAST_USED].note(request.app[POOL], row["session_id"])
    return Principal(
        user_id=row["user_id"],
        session_id=row["session_id"],
        username=row["username"],
        email=row["email"],
        full_name=row["full_name"],
        role=row["role"],
    )


def _bearer(request: web.Request) -> str:
    header = request.headers.get("Authorization")
    if header is None:
        raise Unauthorized("a token is needed: send Authorization: Bearer <token>")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("the Authorization header must be: Bearer <token>")
    return token.strip()
