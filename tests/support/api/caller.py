"""Somebody who asks the API, and what the mutations left in the database."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import asyncpg
import orjson
from multidict import CIMultiDictProxy

from tests.integration.conftest import Api, Token, events_of

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


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
    """`body` is sent as JSON; bytes go as they are. `headers` go with every request."""

    api: Api
    token: Token
    headers: Mapping[str, str] = field(default_factory=dict)

    def sending(self, **headers: str) -> "Caller":
        """The same one with headers more: `sending(If_Match="*")`."""
        return replace(
            self, headers={**self.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}
        )

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        headers = {**self.token.headers, **self.headers}
        data = None
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            # From a file, so that a large one is sent piece by piece.
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


async def take_events(connection: Database) -> list[tuple[str, str]]:
    """Type and data, as stored, of the events in the outbox, in order. They are gone from it then."""
    events = await events_of(connection)
    await connection.execute("delete from outbox")
    return events


def stored(event_type: str, **data: Any) -> tuple[str, str]:
    """An event as `take_events` gives it: compact, keys in this order."""
    return event_type, orjson.dumps(data).decode()
