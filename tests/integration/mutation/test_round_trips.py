"""How many round trips to the database a change takes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.platform.settings import Settings
from service.server.app import make_app
from tests.support.api.caller import Answer, Api, Caller, SignUp
from tests.support.api.transfer_yard import open_yard
from tests.support.database import Connection
from tests.support.postgres.counting_proxy import CountingProxy, counting_proxy

# With the look at the session.
MOST = 3
_NUMBERS = count(1)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[CountingProxy]:
    async with counting_proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def api(settings: Settings, proxy: CountingProxy) -> AsyncIterator[Api]:
    async with TestClient(TestServer(make_app(settings, proxy.url))) as client:
        yield client


async def _least(proxy: CountingProxy, ask: Callable[[], Awaitable[Answer]]) -> int:
    """The round trips of one of several equal requests. The first also prepare statements, and at
    times the process asks something by itself."""
    counts = []
    for _ in range(6):
        before = proxy.round_trips
        answer = await ask()
        assert answer.status < 300, answer.body
        counts.append(proxy.round_trips - before)
    return min(counts)


@pytest.mark.parametrize("change", ["quantity", "name"])
async def test_an_item_is_changed(admin: Caller, proxy: CountingProxy, change: str) -> None:
    item = await admin.make("/items", name="Pump", quantity=9)

    async def put() -> Answer:
        number = next(_NUMBERS)
        return await admin.put(f"/items/{item['id']}", {change: number if change == "quantity" else f"Pump {number}"})

    assert await _least(proxy, put) <= MOST


async def test_an_item_is_created_and_deleted(admin: Caller, proxy: CountingProxy) -> None:
    assert await _least(proxy, lambda: admin.post("/items", {"name": "Pump"})) <= MOST
    ids = [(await admin.make("/items", name="Pump"))["id"] for _ in range(6)]
    assert await _least(proxy, lambda: admin.delete(f"/items/{ids.pop()}")) <= MOST


async def test_an_item_is_moved(admin: Caller, proxy: CountingProxy) -> None:
    places = [(await admin.make("/locations", name=name))["id"] for name in ("Depot", "Site")]
    item = await admin.make("/items", name="Pump")

    async def move() -> Answer:
        return await admin.put(f"/items/{item['id']}/location", {"location_id": places[next(_NUMBERS) % 2]})

    assert await _least(proxy, move) <= MOST


@pytest.mark.parametrize("kind", ["locations", "categories"])
async def test_what_holds_items_is_created_and_changed(admin: Caller, proxy: CountingProxy, kind: str) -> None:
    assert await _least(proxy, lambda: admin.post(f"/{kind}", {"name": f"Yard {next(_NUMBERS)}"})) <= MOST
    made = await admin.make(f"/{kind}", name="Depot")
    assert await _least(proxy, lambda: admin.put(f"/{kind}/{made['id']}", {"name": f"Depot {next(_NUMBERS)}"})) <= MOST


async def test_a_user_is_created_and_renamed(admin: Caller, proxy: CountingProxy) -> None:
    def user() -> dict[str, str]:
        name = f"user-{next(_NUMBERS)}"
        return {"username": name, "email": f"{name}@example.org", "password": "correct horse battery"}

    assert await _least(proxy, lambda: admin.post("/users", user())) <= MOST
    made = await admin.make("/users", **user())
    assert await _least(proxy, lambda: admin.put(f"/users/{made['id']}", {"full_name": f"N {next(_NUMBERS)}"})) <= MOST


async def test_a_transfer_is_approved_and_dispatched(api: Api, sign_up: SignUp, proxy: CountingProxy) -> None:
    yard = await open_yard(api, sign_up, quantity=100)
    transfers = [await yard.request(quantity=1) for _ in range(6)]
    for step in ("approve", "dispatch"):
        waiting = [transfer["id"] for transfer in transfers]
        assert await _least(proxy, lambda: yard.admin.post(f"/transfers/{waiting.pop()}/{step}", None)) <= MOST  # noqa: B023


async def test_a_webhook_is_deleted(admin: Caller, proxy: CountingProxy, connection: Connection) -> None:
    body = {"url": "https://example.org/", "events": ["item-updated"]}
    ids = [(await admin.make("/webhooks", **body))["webhook"]["id"] for _ in range(6)]
    assert await _least(proxy, lambda: admin.delete(f"/webhooks/{ids.pop()}")) <= MOST
