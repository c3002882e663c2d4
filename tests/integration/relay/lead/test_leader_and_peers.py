"""A leader with peers sends what it has slots for, and names the other lanes to its peers."""

import asyncio
from typing import Any

from aiohttp import web

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver, accept
from tests.support.relay.processes import Relays
from tests.support.rows import add_user, add_webhook, write_event
from tests.support.waiting import until


async def empty(connection: Connection) -> Any:
    return await connection.fetchval("select not exists (select from outbox) and not exists (select from deliveries)")


async def test_the_leader_sends_what_it_has_slots_for_and_its_peers_the_rest(
    connection: Connection, settings: Settings, receiver: Receiver, relays: Relays
) -> None:
    owner_id = await add_user(connection)
    for number in range(4):
        await add_webhook(connection, settings, f"{receiver.url}/{number}", ["item-created"], owner_id=owner_id)
    # An owner who is alone gets four of the five slots.
    await relays.start(2, RELAY_CONCURRENCY="5", RELAY_POLL_INTERVAL="86400000")
    leader, follower = await relays.leader(), await relays.follower()
    assert leader is not None
    ids = [(row := await relays.row(relay)) and row["id"] for relay in (leader, follower)]
    senders = "select relay_id, count(*) from attempts group by 1"
    await write_event(connection)
    await until(lambda: empty(connection), "the first is delivered")
    assert {row[0]: row[1] for row in await connection.fetch(senders)} == {ids[0]: 4}

    together = asyncio.Event()

    async def hold(arrival: Arrival) -> web.StreamResponse:
        # The eight requests need the slots of both relays.
        if len(receiver.arrivals) == 4 + 8:
            together.set()
        await together.wait()
        return await accept(arrival)

    receiver.answer = hold
    for _ in range(2):
        await write_event(connection)
    await until(lambda: empty(connection), "all are delivered")
    assert {row[0]: row[1] for row in await connection.fetch(senders)} == {ids[0]: 8, ids[1]: 4}
    assert await relays.poll_wakes() == 0


async def test_many_lanes_are_named_to_the_peers_in_several_parts(
    connection: Connection, settings: Settings, receiver: Receiver, relays: Relays
) -> None:
    owner_id = await add_user(connection)
    lanes = {
        str((await add_webhook(connection, settings, receiver.url, ["item-created"], owner_id=owner_id)).id)
        for _ in range(450)
    }
    await relays.start(2, RELAY_CONCURRENCY="4", RELAY_POLL_INTERVAL="86400000")
    named: list[str] = []
    await connection.add_listener("jossiedb_work", lambda *message: named.append(str(message[3]).partition(" ")[2]))
    await write_event(connection)
    await until(lambda: empty(connection), "all are delivered")
    assert [part.count(",") + 1 for part in named] == [200, 200, 47]
    given = await connection.fetch(
        "select webhook_id from attempts where webhook_id <> all ($1::uuid[])", ",".join(named).split(",")
    )
    # The leader leased three deliveries in fan-out, because the fourth slot belongs to another
    # owner. It named every other lane once.
    assert (len(given), len(set(",".join(named).split(",")))) == (3, 447)
    assert {str(row[0]) for row in await connection.fetch("select webhook_id from attempts")} == lanes
    assert await connection.fetchval("select count(distinct relay_id) from attempts") == 2
