"""Tokens: signed with HS256, and good for as long as their session in the database is."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from service.platform.settings import Settings

ALGORITHM = "HS256"
_SQL = load("auth")
# iat is not checked: a replica whose clock is a second behind must take what another has just issued.
_OPTIONS: Any = {"require": ["sub", "sid", "typ", "iat", "exp"], "verify_iat": False}


@dataclass(frozen=True, slots=True)
class Claims:
    """Whose token it is. `generation` is 0 in an access token."""

    user_id: UUID
    session_id: UUID
    generation: int


class Tokens:
    """Issues and reads tokens. `refresh_lifetime` is also how long a session lasts without a refresh."""

    def __init__(self, key: str, lifetime: timedelta, refresh_lifetime: timedelta) -> None:
        self._key = key
        self._lifetime = lifetime
        self.refresh_lifetime = refresh_lifetime

    @classmethod
    def of(cls, settings: Settings) -> "Tokens":
        return cls(settings.jwt_key(), settings.jwt_expires_in, settings.jwt_refresh_expires_in)

    def access(self, user_id: UUID, session_id: UUID) -> str:
        return self._issue("access", user_id, session_id, self._lifetime, {})

    def refresh(self, user_id: UUID, session_id: UUID, generation: int) -> str:
        return self._issue("refresh", user_id, session_id, self.refresh_lifetime, {"gen": generation})

    def read_access(self, token: str) -> Claims:
        """Raises Unauthorized."""
        return self._read(token, "access")

    def read_refresh(self, token: str) -> Claims:
        """Raises Unauthorized."""
        return self._read(token, "refresh")

    def _issue(
        self,
        kind: Literal["access", "refresh"],
        user_id: UUID,
        session_id: UUID,
        lifetime: timedelta,
        more: dict[str, int],
    ) -> str:
        now = datetime.now(UTC)
        claims = {"sub": str(user_id), "sid": str(session_id), "typ": kind, "iat": now, "exp": now + lifetime, **more}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def _read(self, token: str, kind: Literal["access", "refresh"]) -> Claims:
        name = "token" if kind == "access" else "refresh token"
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM], options=_OPTIONS)
        except jwt.ExpiredSignatureError:
            raise Unauthorized(f"the {name} has expired") from None
        except (jwt.InvalidTokenError, ValueError):
            raise Unauthorized(f"the {name} is not valid") from None
        user_id, session_id = parse_id(str(claims["sub"])), parse_id(str(claims["sid"]))
        generation = claims.get("gen", 0)
        if claims["typ"] != kind or user_id is None or session_id is None or not isinstance(generation, int):
            raise Unauthorized(f"the {name} is not valid")
        return Claims(user_id, session_id, generation)


TOKENS = web.AppKey("tokens", Tokens)


async def authenticate(request: web.Request) -> Principal:
    """Who asks. The session is read at each request, so that a logout counts at once and everywhere. Raises Unauthorized."""
    claims = request.app[TOKENS].read_access(_bearer(request))
    row = await _SQL.session.fetchrow(request.app[POOL], session_id=claims.session_id, user_id=claims.user_id)
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
