"""Order by item while relays are killed: the sequences arrive in order and without a gap, and no
item stops."""

import asyncio
import signal

import pytest

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.ordered_webhooks import Watch, change_all, check_order, items, ordered_webhook
from tests.support.relay.processes import Relays
from tests.support.waiting import until

ITEMS = 40
ROUNDS = 12


@pytest.mark.parametrize("victim", ["follower", "leader"])
async def test_a_killed_relay_leaves_every_item_in_order(
    victim: str, connection: Connection, settings: Settings, relays: Relays, receiver: Receiver, database_url: str
) -> None:
    async def slowly(_: Arrival) -> int:
        await asyncio.sleep(0.02)
        return 200

    receiver.answer = watch = Watch(slowly)
    await ordered_webhook(connection, settings, receiver.url)
    # So few slots that neither relay can take all items.
    await relays.start(2, RELAY_CONCURRENCY_PER_WEBHOOK="8")
    all_items = items(ITEMS)
    async with connection.transaction():
        await change_all(connection, all_items, ROUNDS)
    doomed = await relays.leader() if victim == "leader" else await relays.follower()
    assert doomed is not None
    killed = await connection.fetchval("select id from relays where pid = $1", doomed.pid)

    async def at_work() -> bool:
        held: int = await connection.fetchval("select count(*) from deliveries where leased_by = $1", killed)
        return held > 3 and len(receiver.arrivals) > ITEMS * ROUNDS // 4

    await until(at_work, "the relay is at work")
    doomed.send(signal.SIGKILL)
    await doomed.ended()
    await relays.idle()
    assert watch.overlaps == []
    for item in all_items:
        assert watch.taken["/", str(item)] == list(range(1, ROUNDS + 1))
    assert await connection.fetchval("select count(*) from attempts where lost_by = $1", killed) > 0
    await check_order(database_url)
