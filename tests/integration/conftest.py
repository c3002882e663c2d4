"""The API over HTTP, and people to ask it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from relay.transport import HttpTransport
from service.auth.tokens import Tokens
from service.delivery.subject import Subject, subject_of
from service.platform.db import Pool, open_pool
from service.platform.settings import Settings
from service.server.app import make_app
from tests.support.postgres.shared_server import WAITING
from tests.support.relay.processes import Connection
from tests.support.relay.sending import Sending, register

Api = TestClient[web.Request, web.Application]
# Events whose data does not say where they happen.
ELSEWHERE = {
    "checkout-requested",
    "checkout-authorized",
    "checkout-rejected",
    "checkout-cancelled",
    "item-checkout",
    "item-checkin",
}


class Token(str):
    """A bearer token that knows whose it is; `headers` are what a request sends."""

    user_id: UUID
    session_id: UUID
    username: str
    role: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self}"}


SignUp = Callable[[str], Awaitable[Token]]
Outbox = Callable[[], Awaitable[list[tuple[str, dict[str, Any]]]]]
SomebodyWaits = Callable[[], Awaitable[None]]


@pytest.fixture
async def api(settings: Settings, database_url: str) -> AsyncIterator[Api]:
    """A client of the API, which serves on a port of its own with the test's database."""
    async with TestClient(TestServer(make_app(settings, database_url))) as client:
        yield client


@pytest.fixture
async def sign_up(settings: Settings, connection: "asyncpg.Connection[asyncpg.Record]") -> SignUp:
    """`await sign_up("foreman")` is a token of a new user of that role, who has no password.

    Nothing is written to the outbox: what a test finds there comes from what it does itself.
    """
    tokens = Tokens.of(settings)

    async def sign_up(role: str = "worker") -> Token:
        number = await connection.fetchval("select count(*) from users")
        username = f"{role}{number}"
        user_id = await connection.fetchval(
            "insert into users (username, email, full_name, role, password_hash) values ($1, $2, $3, $4, '!') returning id",
            username,
            f"{username}@example.org",
            username.title(),
            role,
        )
        session_id = await connection.fetchval(
            "insert into sessions (user_id, expires_at) values ($1, now() + interval '1 day') returning id", user_id
        )
        token = Token(tokens.access(user_id, session_id))
        token.user_id, token.session_id, token.username, token.role = user_id, session_id, username, role
        return token

    return sign_up


async def events_of(connection: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[str, str]]:
    """Type and data of the events in the outbox, in order. The service has said of each what it is about, as the relay would have."""
    rows = await connection.fetch("select * from outbox order by seq")
    for row in rows:
        told = row["location_ids"] if row["type"] in ELSEWHERE else None
        subject = subject_of(row["type"], row["data"], told)
        assert subject == Subject(
            row["data"],
            row["audience"],
            tuple(map(str, row["location_ids"])),
            row["category_id"] and str(row["category_id"]),
            tuple(map(str, row["user_ids"])),
            row["stock"],
            row["item_id"] and str(row["item_id"]),
        ), row["type"]
    return [(row["type"], row["data"]) for row in rows]


@pytest.fixture
def outbox(connection: "asyncpg.Connection[asyncpg.Record]") -> Outbox:
    """`await outbox()` is the type and data of the events in the outbox, in the order in which they were written."""

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
    """And one more."""
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
    """Few events are fanned out one by one, or as many are."""
    if request.param == "as a batch":
        monkeypatch.setattr("relay.lead.fanout.FEW_EVENTS", 0)


@pytest.fixture
def somebody_waits(connection: "asyncpg.Connection[asyncpg.Record]") -> SomebodyWaits:
    """`await somebody_waits()` returns when another connection waits for a lock, one that `connection` holds, say."""

    async def somebody_waits() -> None:
        while not await connection.fetchval(WAITING):
            # Within a transaction the view stays as it was when first read.
            await connection.execute("select pg_stat_clear_snapshot()")
            await asyncio.sleep(0.01)

    return somebody_waits
