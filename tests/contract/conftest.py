"""One running system for all contract tests of a process, and its users. Each test makes its own
items, locations and webhooks."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest

from tests.support.api.caller import ROLES
from tests.support.contract.client import NOBODY, PASSWORD, Client, Newcomer, User, unique
from tests.support.contract.ears import Ears, Listen
from tests.support.contract.system import System
from tests.support.database import create_database, drop_database
from tests.support.environment import SETTINGS, is_setting
from tests.support.postgres.shared_server import TEMPLATE
from tests.support.receivers.receiver import Receiver, Responder, accept, receiving


@pytest.fixture(scope="session")
def system(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The API and a relay on a database of their own."""
    directory = tmp_path_factory.mktemp("system")
    database_url = asyncio.run(create_database(server_url, TEMPLATE))
    inherited = {name: value for name, value in os.environ.items() if not is_setting(name)}
    system = System(
        directory, inherited | SETTINGS | {"DATABASE_URL": database_url, "JOSSIEDB_DATA_DIR": str(directory)}
    )
    try:
        system.start()
        yield system
    finally:
        system.stop()
        asyncio.run(drop_database(server_url, database_url))


@pytest.fixture(scope="session")
def cast(system: System) -> dict[str, User]:
    """A user of each role who has signed in and keeps that session."""
    with ThreadPoolExecutor(len(ROLES)) as threads:
        list(threads.map(lambda role: system.create_user(f"the-{role}", role), ROLES))
    return asyncio.run(_sign_in(system.address))


async def _sign_in(address: str) -> dict[str, User]:
    async with aiohttp.ClientSession() as http:
        nobody = Client(http, address)
        clients = {role: await nobody.sign_in(f"the-{role}") for role in ROLES}
        return {role: client.user for role, client in clients.items() if client.user is not None}


@pytest.fixture
async def nobody(system: System) -> AsyncIterator[Client]:
    """A client without a user."""
    async with aiohttp.ClientSession() as http:
        yield Client(http, system.address)


@pytest.fixture
def clients(nobody: Client, cast: dict[str, User]) -> dict[str, Client]:
    """A client of each role, and one without a user."""
    return {NOBODY: nobody} | {role: nobody.as_user(user) for role, user in cast.items()}


@pytest.fixture
def admin(clients: dict[str, Client]) -> Client:
    return clients["admin"]


@pytest.fixture
def supervisor(clients: dict[str, Client]) -> Client:
    return clients["supervisor"]


@pytest.fixture
def foreman(clients: dict[str, Client]) -> Client:
    return clients["foreman"]


@pytest.fixture
def worker(clients: dict[str, Client]) -> Client:
    return clients["worker"]


@pytest.fixture
def personnel(clients: dict[str, Client]) -> Client:
    return clients["personnel"]


@pytest.fixture
def newcomer(nobody: Client) -> Newcomer:
    """`await newcomer()` is a new worker, registered and signed in."""

    async def register() -> Client:
        name = unique("newcomer")
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "full_name": "New Comer"}
        await nobody.post("/auth/register", body, status=201)
        return await nobody.sign_in(name)

    return register


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """`await listen(client, events)` is a webhook of that client with a receiver of its own. Both
    end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def listen(client: Client, events: list[str], *, answer: Responder = accept, **fields: Any) -> Ears:
            receiver: Receiver = await stack.enter_async_context(receiving(answer))
            ears = Ears(client, await client.webhook(receiver.url, events, **fields), receiver)
            stack.push_async_callback(client.ask, "DELETE", f"/webhooks/{ears.id}")
            return ears

        yield listen


@pytest.fixture
async def owner(worker: Client) -> AsyncIterator[Client]:
    """The worker. The worker's webhooks are deleted after the test."""
    yield worker
    for webhook in (await worker.get("/webhooks"))["webhooks"]:
        await worker.delete(f"/webhooks/{webhook['id']}")
