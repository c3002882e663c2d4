"""Order by item while users retry, skip and replay failed events, beside working relays."""

import asyncio
import random

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.ordered_webhooks import EVENT, Watch, change_all, check_order, items
from tests.support.relay.processes import Relays
from tests.support.relay.replays import ask_replay


async def test_retries_skips_and_replays_beside_the_relays_leave_no_item_stuck(
    connection: Connection,
    relays: Relays,
    receiver: Receiver,
    api: Api,
    sign_up: SignUp,
    database_url: str,
) -> None:
    rng = random.Random(7)
    share = 0.3

    async def verdict(_: Arrival) -> int:
        await asyncio.sleep(rng.random() * 0.005)
        return 500 if rng.random() < share else 200

    receiver.answer = watch = Watch(verdict)
    owner = Caller(api, await sign_up("admin"))
    created = await owner.make(
        "/webhooks",
        url=receiver.url,
        events=[EVENT],
        ordering="item",
        retryPolicy={"maxRetries": 1, "retryDelay": 100},
    )
    path = f"/webhooks/{created['webhook']['id']}"
    await relays.start(2)
    all_items = items(10)

    async def people() -> None:
        """Each user takes up a blocked event if there is one, or sends an old event again."""
        for _ in range(60):
            page = (await owner.get(f"{path}/events", status="failed", limit="20")).body["events"]
            if page:
                event = rng.choice(page)
                what = rng.choice(["retry", "skip"])
                answer = await owner.post(f"{path}/events/{event['id']}/{what}", None)
                assert answer.status in {200, 409}, answer.body
            await asyncio.sleep(0.01)

    async def writers() -> None:
        for _ in range(15):
            await change_all(connection, all_items, 1)
            await asyncio.sleep(0.05)

    async def replays() -> None:
        for _ in range(5):
            await ask_replay(owner, created["webhook"]["id"], status=rng.choice(["failed", "all"]))
            await asyncio.sleep(0.2)

    await asyncio.gather(people(), people(), people(), writers(), replays())
    share = 0.0
    # Retry every event that is still blocked. The events that waited for it follow.
    end = asyncio.get_running_loop().time() + 60
    while await connection.fetchval("select exists (select from item_orders where blocked_position is not null)") or (
        await connection.fetchval("select exists (select from deliveries) or exists (select from outbox)")
    ):
        assert asyncio.get_running_loop().time() < end, await connection.fetch("select * from item_orders")
        for row in await connection.fetch(
            "select e.id from item_orders as o join events as e on e.position = o.blocked_position"
        ):
            assert (await owner.post(f"{path}/events/{row['id']}/retry", None)).status in {200, 409}
        await asyncio.sleep(0.1)
    assert watch.overlaps == []
    assert all(relay.exit_code is None for relay in relays.started)
    assert await connection.fetchval("select count(*) from item_orders where head is not null") == 0
    await check_order(database_url)
    assert await connection.fetchval("select max(sequence) from item_orders") == 15
    assert not [line for relay in relays.started for line in relay.log() if line["level"] in {"error", "critical"}]
