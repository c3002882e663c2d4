"""Contract, section 4: the permission matrix. Every route × every role and nobody × own and other's object is really asked."""

import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.app import ROUTES
from tests.contract.conftest import Listen
from tests.contract.permissions.table import Row, Stage
from tests.contract.world import ROLES, Client, System

_FILES = sorted((Path(__file__).parent / "permissions").glob("*.py"))
TABLE: list[Row] = [
    row
    for file in _FILES
    if file.stem != "table"
    for row in importlib.import_module(f"tests.contract.permissions.{file.stem}").TABLE
]


def test_no_route_is_missing() -> None:
    """in which no route may be missing"""
    named = [row.route for row in TABLE]
    assert len(set(named)) == len(named)
    assert set(named) == {f"{route.method} {route.path}" for route in ROUTES}


@pytest.fixture(scope="session")
def second_cast(system: System) -> dict[str, Client]:
    """A second user of each role: whose another's objects are. Filled by `others`."""
    with ThreadPoolExecutor(len(ROLES)) as threads:
        list(threads.map(lambda role: system.create_user(f"other-{role}", role), ROLES))
    return {}


@pytest.fixture
async def others(second_cast: dict[str, Client], nobody: Client) -> dict[str, Client]:
    """Signed in: a row before may have ended their sessions."""
    for role in ROLES:
        known = second_cast.get(role, nobody)
        client = second_cast[role] = nobody.as_user(known.user)
        if (await client.ask("GET", "/auth/verify-session")).status != 200:
            second_cast[role] = await nobody.sign_in(f"other-{role}")
    return second_cast


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
        answer = await client.ask(method, path.format(**request.path) + request.query, request.body)
        if answer.status >= 400:
            answer.problem(answer.status)
        allowed = answer.status < 300 or (row.may_conflict and answer.status == 409)
        found[case, caller] = "ok" if allowed else str(answer.status)
    assert found == row.expected()
