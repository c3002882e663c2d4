"""A client of the running system, and the users of the contract tests."""

import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from multidict import CIMultiDict

PASSWORD = "a-password-for-tests"
NOBODY = "nobody"
UNKNOWN_ID = "0198c0de-7a11-7c3e-9f00-5b7d3c2a1e10"
_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """A name that no other test of this system has."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


@dataclass(frozen=True)
class User:
    """A user who has signed in."""

    id: str
    username: str
    role: str
    token: str
    session_id: str


@dataclass(frozen=True)
class Answer:
    """An answer of the API. `body` is the parsed JSON, or None if there is no content."""

    status: int
    headers: CIMultiDict[str]
    body: Any

    def problem(self, status: int, *pointers: str) -> dict[str, Any]:
        """The body of a problem, after checks of its form. With `pointers` it must name exactly
        these fields."""
        assert self.status == status, f"{self.status} instead of {status}: {self.body}"
        assert self.headers["Content-Type"].startswith("application/problem+json")
        assert self.body["status"] == status
        assert self.body["type"]
        assert self.body["title"]
        assert self.body["detail"]
        assert self.body["error"] == self.body["detail"]
        if pointers:
            assert {error["pointer"] for error in self.body["errors"]} == set(pointers), self.body
        found: dict[str, Any] = self.body
        return found


@dataclass(frozen=True)
class Client:
    """A caller of the API, who may have signed in."""

    http: aiohttp.ClientSession
    address: str
    user: User | None = None

    @property
    def id(self) -> str:
        assert self.user is not None
        return self.user.id

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`body` is an object that becomes JSON, or bytes that are sent unchanged. Underscores in
        the names of headers become hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.user is not None:
            given.setdefault("Authorization", f"Bearer {self.user.token}")
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.request(
            method, f"{self.address}/api/v1{path}", data=data, headers=given, skip_auto_headers=["Content-Type"]
        ) as response:
            text = await response.read()
            is_csv = response.content_type == "text/csv"
            shown = text.decode() if is_csv else json.loads(text) if text else None
            return Answer(response.status, CIMultiDict(response.headers), shown)

    async def call(self, method: str, path: str, body: Any = None, *, status: int | None = None, **headers: str) -> Any:
        """The body of a successful answer."""
        answer = await self.ask(method, path, body, **headers)
        wanted = answer.status < 300 if status is None else answer.status == status
        assert wanted, f"{method} {path}: {answer.status} {answer.body}"
        return answer.body

    async def get(self, path: str) -> Any:
        return await self.call("GET", path, status=200)

    async def post(self, path: str, body: Any = None, *, status: int | None = None) -> Any:
        return await self.call("POST", path, body, status=status)

    async def put(self, path: str, body: Any) -> Any:
        return await self.call("PUT", path, body, status=200)

    async def delete(self, path: str) -> None:
        assert await self.call("DELETE", path, status=204) is None

    def as_user(self, user: User | None) -> "Client":
        return Client(self.http, self.address, user)

    async def sign_in(self, username: str, password: str = PASSWORD) -> "Client":
        login = {"username": username, "password": password}
        signed_in = await self.as_user(None).post("/auth/login", login)
        return self.as_user(as_user(signed_in))

    # Objects that most tests need. The routes of the contract create them.

    async def item(self, **fields: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.post("/items", {"name": unique("item"), "quantity": 20, **fields}, status=201)
        return made

    async def location(self, *foremen: str) -> str:
        made = await self.post("/locations", {"name": unique("location")}, status=201)
        if foremen:
            await self.post(f"/locations/{made['id']}/foremen", {"user_ids": list(foremen)})
        return str(made["id"])

    async def category(self, **fields: Any) -> str:
        return str((await self.post("/categories", {"name": unique("category"), **fields}, status=201))["id"])

    async def webhook(self, url: str, events: list[str], **fields: Any) -> dict[str, Any]:
        made = await self.post("/webhooks", {"url": url, "events": events, **fields}, status=201)
        webhook: dict[str, Any] = made["webhook"]
        return webhook


def as_user(signed_in: Mapping[str, Any]) -> User:
    user = signed_in["user"]
    return User(user["id"], user["username"], user["role"], signed_in["token"], signed_in["sessionId"])


class Newcomer(Protocol):
    async def __call__(self) -> Client: ...
