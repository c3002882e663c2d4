"""Contract, section 4: the permission matrix. Every route is requested by every role and by nobody,
for own objects and those of others."""

import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.documents import openapi
from service.server.app import ROUTES
from tests.support.api.caller import ROLES
from tests.support.contract.client import Client, unique
from tests.support.contract.ears import Listen
from tests.support.contract.permissions.table import Row, Stage
from tests.support.contract.system import System
from tests.support.paths import TESTS

_FILES = sorted((TESTS / "support" / "contract" / "permissions").glob("*.py"))
TABLE: list[Row] = [
    row
    for file in _FILES
    if file.stem != "table"
    for row in importlib.import_module(f"tests.support.contract.permissions.{file.stem}").TABLE
]


def _taking(header: str) -> list[Row]:
    """The rows of the routes whose documentation names the header."""
    paths = openapi.document(ROUTES)["paths"]
    named = {
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if {"$ref": f"#/components/parameters/{header}"} in operation.get("parameters", [])
    }
    return [row for row in TABLE if row.route in named]


def test_no_route_is_missing() -> None:
    """in which no route may be missing"""
    named = [row.route for row in TABLE]
    assert len(set(named)) == len(named)
    assert set(named) == {f"{route.method} {route.path}" for route in ROUTES}


@pytest.fixture(scope="session")
def second_cast(system: System) -> dict[str, Client]:
    """A second user of each role, who owns the objects of others. The fixture `others` fills it."""
    with ThreadPoolExecutor(len(ROLES)) as threads:
        list(threads.map(lambda role: system.create_user(f"other-{role}", role), ROLES))
    return {}


@pytest.fixture
async def others(second_cast: dict[str, Client], nobody: Client) -> dict[str, Client]:
    """Clients with fresh sessions, because an earlier row may have ended them."""
    for role in ROLES:
        known = second_cast.get(role, nobody)
        client = second_cast[role] = nobody.as_user(known.user)
        if (await client.ask("GET", "/auth/verify-session")).status != 200:
            second_cast[role] = await nobody.sign_in(f"other-{role}")
    return second_cast


def _type_of(body: Any) -> dict[str, str]:
    return {"Content_Type": "text/csv"} if isinstance(body, bytes) else {}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.route)
async def test_each_role_may_do_what_the_matrix_says(
    row: Row, clients: dict[str, Client], others: dict[str, Client], listen: Listen
) -> None:
    """The table of roles; another's: 403, nobody signed in: 401"""
    found = {}
    for case, caller in row.expected():
        stage = Stage(caller, case, clients, others, listen)
        request = await row.prepare(stage)
        client = request.caller or clients[caller]
        method, _, path = row.route.partition(" ")
        path = path.format(**request.path) + request.query
        answer = await client.ask(method, path, request.body, **_type_of(request.body))
        if answer.status >= 400:
            answer.problem(answer.status)
        allowed = answer.status < 300 or (row.may_conflict and answer.status == 409)
        found[case, caller] = "ok" if allowed else str(answer.status)
    assert found == row.expected()


async def _as_admin(
    row: Row, clients: dict[str, Client], others: dict[str, Client], listen: Listen
) -> tuple[str, str, Any]:
    """A request of the route that an admin may make: method, path and body."""
    case = next(case for (case, caller), outcome in row.expected().items() if (caller, outcome) == ("admin", "ok"))
    request = await row.prepare(Stage("admin", case, clients, others, listen))
    method, _, path = row.route.partition(" ")
    return method, path.format(**request.path), request.body


@pytest.mark.parametrize("row", _taking("If-Match"), ids=lambda row: row.route)
async def test_a_route_that_takes_if_match_honours_it(
    row: Row, clients: dict[str, Client], others: dict[str, Client], listen: Listen
) -> None:
    """`If-Match` honoured (412)"""
    method, path, body = await _as_admin(row, clients, others, listen)
    (await clients["admin"].ask(method, path, body, If_Match='"not-its-tag"')).problem(412)


def test_every_post_but_those_of_auth_takes_an_idempotency_key() -> None:
    """`Idempotency-Key` on every POST but /auth"""
    posts = {f"{route.method} {route.path}" for route in ROUTES if route.method == "POST"}
    auth = {route for route in posts if route.startswith("POST /auth/")}
    assert {row.route for row in _taking("Idempotency-Key")} == posts - auth


@pytest.mark.parametrize("row", _taking("Idempotency-Key"), ids=lambda row: row.route)
async def test_a_post_with_a_key_is_done_once(
    row: Row, clients: dict[str, Client], others: dict[str, Client], listen: Listen
) -> None:
    """same key and body replays the answer, other body 422"""
    admin = clients["admin"]
    method, path, body = await _as_admin(row, clients, others, listen)
    key = unique("key")
    headers = {"Idempotency_Key": key, **_type_of(body)}
    first = await admin.ask(method, path, body, **headers)
    again = await admin.ask(method, path, body, **headers)
    assert first.status < 300
    assert "Idempotency-Replayed" not in first.headers
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = body + b"Hose,\n" if isinstance(body, bytes) else {**(body or {}), "other": 1}
    (await admin.ask(method, path, other, **headers)).problem(422)
