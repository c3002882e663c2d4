"""A caller of the API: a user's token, and requests with it."""

import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web
from aiohttp.test_utils import TestClient
from multidict import CIMultiDictProxy

from service.auth.tokens import Tokens
from tests.support.database import Connection

ROLES = ("admin", "supervisor", "foreman", "worker", "personnel")
Api = TestClient[web.Request, web.Application]


class Token(str):
    """A bearer token with its user's id and role. `headers` are those that a request sends."""

    user_id: UUID
    session_id: UUID
    username: str
    role: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self}"}


SignUp = Callable[[str], Awaitable[Token]]


async def open_session(connection: Connection, tokens: Tokens, user_id: UUID) -> Token:
    """A token of a new session of this user."""
    user = await connection.fetchrow("select username, role from users where id = $1", user_id)
    assert user is not None
    session_id = await connection.fetchval(
        "insert into sessions (user_id, expires_at) values ($1, now() + interval '1 day') returning id", user_id
    )
    token = Token(tokens.access(user_id, session_id))
    token.user_id, token.session_id, token.username, token.role = user_id, session_id, user["username"], user["role"]
    return token


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    headers: CIMultiDictProxy[str]

    @property
    def pointers(self) -> list[str]:
        return [error["pointer"] for error in self.body["errors"]]


@dataclass(frozen=True, slots=True)
class Caller:
    """`body` is sent as JSON, and bytes are sent unchanged. `headers` go with every request."""

    api: Api
    token: Token
    headers: Mapping[str, str] = field(default_factory=dict)

    def sending(self, **headers: str) -> "Caller":
        """The same caller with more headers: `sending(If_Match="*")`."""
        return replace(
            self, headers={**self.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}
        )

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        headers = {**self.token.headers, **self.headers}
        data = None
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            # As a file, so that a large body is sent piece by piece.
            data = io.BytesIO(body if isinstance(body, bytes) else orjson.dumps(body))
        async with self.api.request(method, f"/api/v1{path}", data=data, headers=headers, params=query) as response:
            raw = await response.read()
            shown = raw.decode() if response.content_type == "text/csv" else orjson.loads(raw) if raw else None
            return Answer(response.status, shown, response.headers)

    async def get(self, path: str, **query: str) -> Answer:
        return await self.ask("GET", path, **query)

    async def post(self, path: str, body: Any) -> Answer:
        return await self.ask("POST", path, body)

    async def put(self, path: str, body: Any) -> Answer:
        return await self.ask("PUT", path, body)

    async def delete(self, path: str) -> Answer:
        return await self.ask("DELETE", path)

    async def make(self, path: str, **fields: Any) -> Any:
        """The object that a POST creates."""
        answer = await self.post(path, fields)
        assert answer.status == 201, answer.body
        return answer.body
