"""More connections, the sending side of a relay, and callers of the API."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import argon2
import asyncpg
import orjson
import pytest

from relay.transport import HttpTransport
from service.platform.db import Pool, open_pool
from service.platform.settings import Settings
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import Outbox, events_of
from tests.support.api.webhooks import make_webhook
from tests.support.database import WAITING, Connection, SomebodyWaits
from tests.support.relay.log import RelayLog
from tests.support.relay.replays import Leader, leading
from tests.support.relay.sending import Sending, register


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id with its cheapest parameters. With those of the service, a hash of a password takes
    a tenth of a second of CPU and 64 MiB."""
    cheapest = partial(argon2.PasswordHasher.from_parameters, argon2.profiles.CHEAPEST)
    monkeypatch.setattr("service.auth.passwords.PasswordHasher", cheapest)


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    """`await outbox()` is the type and data of the events in the outbox, in the order of their
    writing."""

    async def outbox() -> list[tuple[str, dict[str, Any]]]:
        return [(event_type, orjson.loads(data)) for event_type, data in await events_of(connection)]

    return outbox


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, application_name="test", size=4)
    yield pool
    await pool.close()


@pytest.fixture
async def another_connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close(timeout=10)


@pytest.fixture
async def third(database_url: str) -> AsyncIterator[Connection]:
    """One more connection."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close(timeout=10)


@pytest.fixture
async def sending(connection: Connection, pool: Pool, settings: Settings) -> AsyncIterator[Sending]:
    """A relay's sending side."""
    transport = HttpTransport(settings.webhook_allowed_networks)
    sending = Sending(pool, settings, await register(connection), transport)
    yield sending
    await sending.stop()
    await transport.close()


@pytest.fixture(params=["one by one", "as a batch"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the test twice: events are fanned out one by one, or as a batch."""
    if request.param == "as a batch":
        monkeypatch.setattr("relay.lead.fanout.FEW_EVENTS", 0)


@pytest.fixture
def somebody_waits(connection: Connection) -> SomebodyWaits:
    """`await somebody_waits()` returns when another connection waits for a lock, such as one that
    `connection` holds."""

    async def somebody_waits() -> None:
        while not await connection.fetchval(WAITING):
            # Within a transaction, the view keeps its first content.
            await connection.execute("select pg_stat_clear_snapshot()")
            await asyncio.sleep(0.01)

    return somebody_waits


@pytest.fixture
async def admin(api: Api, sign_up: SignUp) -> Caller:
    return Caller(api, await sign_up("admin"))


@pytest.fixture
async def owner(api: Api, sign_up: SignUp) -> Caller:
    """A worker, to whom the test's webhooks belong."""
    return Caller(api, await sign_up("worker"))


@pytest.fixture
async def webhook_id(owner: Caller) -> str:
    webhook_id: str = (await make_webhook(owner))["id"]
    return webhook_id


@pytest.fixture
def log(connection: Connection) -> RelayLog:
    return RelayLog(connection)


@pytest.fixture
async def leader(connection: Connection, database_url: str) -> AsyncIterator[Leader]:
    """A leader that fans out and works on replays when the test says so."""
    async with leading(connection, database_url) as leader:
        yield leader
