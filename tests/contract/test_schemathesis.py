"""The API answers as its OpenAPI document says: generated requests, valid and invalid, from three
kinds of callers."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import hypothesis
import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.api.routes import PREFIX
from service.auth.tokens import Tokens
from service.platform.ids import new_id
from service.platform.settings import Settings
from service.server.app import ROUTES, make_app

Operation = APIOperation[Any, Any, Any, Any]
# No check demands that the API refuses every value outside the schema. It accepts integers as text
# and unknown fields.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Examples for each operation, of three kinds of callers.
EXAMPLES = 12
# With an existing webhook these routes wait for a relay, and here is none.
WAITING = frozenset({"/webhooks/{id}/test", "/webhooks/{id}/stream"})
PATIENCE = 30
LONGEST_LINE = 8190


@dataclass(frozen=True, slots=True)
class World:
    """An API that serves from a thread of its own, and its database."""

    address: str
    database_url: str
    tokens: Tokens

    def caller(self, role: str | None) -> dict[str, str]:
        """The headers of a new user of that role, and none for None."""
        return {} if role is None else asyncio.run(self._sign_up(role))

    def objects(self, owner: dict[str, str]) -> dict[str, str]:
        """The id of a new object of each kind, by the first part of its route's path. The webhook
        belongs to `owner`, if that is a user."""
        return asyncio.run(self._make(owner))

    async def _sign_up(self, role: str) -> dict[str, str]:
        connection = await asyncpg.connect(self.database_url)
        try:
            user_id: UUID = await connection.fetchval(
                "insert into users (username, email, full_name, role, password_hash)"
                " select $1 || count(*), $1 || count(*) || '@example.org', $1, $1, '!' from users returning id",
                role,
            )
            session_id: UUID = await connection.fetchval(
                "insert into sessions (user_id, expires_at) values ($1, now() + interval '1 day') returning id", user_id
            )
        finally:
            await connection.close()
        return {"Authorization": f"Bearer {self.tokens.access(user_id, session_id)}"}

    async def _make(self, owner: dict[str, str]) -> dict[str, str]:
        admin = await self._sign_up("admin")
        async with aiohttp.ClientSession() as http:

            async def make(path: str, headers: dict[str, str] = admin, **body: Any) -> dict[str, Any]:
                async with http.post(f"{self.address}{path}", json=body, headers=headers) as response:
                    assert response.status == 201, await response.text()
                    made: dict[str, Any] = await response.json()
                    return made

            location = (await make("/locations", name=str(new_id())))["id"]
            category = (await make("/categories", name=str(new_id())))["id"]
            item = (await make("/items", name="Pump", quantity=3, location_id=location, category_id=category))["id"]
            subscription = {"url": "http://127.0.0.1:9/", "events": ["item-created"]}
            webhook = (await make("/webhooks", owner or admin, **subscription))["webhook"]["id"]
        return {"locations": location, "categories": category, "items": item, "webhooks": webhook}


@pytest.fixture
def world(settings: Settings, database_url: str) -> Iterator[World]:
    started = threading.Event()
    state: dict[str, Any] = {}

    async def serve() -> None:
        runner = web.AppRunner(make_app(settings, database_url))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        state.update(loop=asyncio.get_running_loop(), stop=asyncio.Event(), port=runner.addresses[0][1])
        started.set()
        await state["stop"].wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(PATIENCE)
    yield World(f"http://127.0.0.1:{state['port']}{PREFIX}", database_url, Tokens.of(settings))
    state["loop"].call_soon_threadsafe(state["stop"].set)
    thread.join(PATIENCE)


def test_every_answer_is_as_documented(world: World, subtests: pytest.Subtests) -> None:
    schema = schemathesis.openapi.from_url(f"{world.address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    # Schemathesis leaves out the route of the document that it has read.
    wanted = {f"{route.method} {route.path}" for route in ROUTES} - {"GET /openapi.json"}
    assert {operation.label for operation in operations} == wanted
    for operation in operations:
        with subtests.test(operation.label):
            _explore(world, operation)


def _explore(world: World, operation: Operation) -> None:
    # New ones for each operation, since the one before may have ended their sessions.
    callers = [world.caller(role) for role in ("admin", "worker", None)]
    known = world.objects(callers[1]) if "{id}" in operation.path else {}

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of([operation.as_strategy(mode) for mode in GenerationMode]),
        existing=st.booleans(),
        headers=st.sampled_from(callers),
    )
    def answers_as_documented(case: Case[Any], existing: bool, headers: dict[str, str]) -> None:
        kind = operation.path.split("/")[1]
        if existing and "id" in case.path_parameters and kind in known and operation.path not in WAITING:
            case.path_parameters["id"] = known[kind]
        response = case.call(base_url=world.address, headers=headers)
        # aiohttp's parser refuses a longer line, before any route.
        hypothesis.assume(len(response.request.path_url) < LONGEST_LINE)
        case.validate_response(response, headers=headers, checks=CHECKS)

    answers_as_documented()
