"""kill -9 during deliveries: everything arrives, and only deliveries that the killed relay held
arrive twice."""

import asyncio
import signal
from collections import Counter

from aiohttp import web

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import RelayProcess, Relays
from tests.support.rows import add_webhook
from tests.support.waiting import until

EVENTS = 200
WEBHOOKS = 10


async def _slowly(_: Arrival) -> web.StreamResponse:
    # Long enough that some requests are in flight at any moment.
    await asyncio.sleep(0.05)
    return web.Response()


async def _many_deliveries(connection: Connection, settings: Settings, receiver: Receiver) -> None:
    """2,000 deliveries that are owed from one moment to the next."""
    receiver.answer = _slowly
    for number in range(WEBHOOKS):
        # So long that no request is repeated only because the receiver, in this process, is slow.
        await add_webhook(connection, settings, f"{receiver.url}/{number}", ["item-created"], timeout_ms=60_000)
    await connection.execute(
        "insert into outbox (type, data) select 'item-created', json_build_object('n', n)::text from generate_series(1, $1) as n",
        EVENTS,
    )


async def _check_nothing_lost(connection: Connection, relays: Relays, receiver: Receiver, killed: object) -> None:
    await relays.idle()
    arrived = Counter((arrival.path, arrival.event_id) for arrival in receiver.arrivals)
    assert len(arrived) == EVENTS * WEBHOOKS
    log = await connection.fetch("select webhook_id, event_id, outcome, lost_by from attempts")
    ends = Counter((row["webhook_id"], row["event_id"]) for row in log if row["outcome"] == "success")
    assert len(ends) == EVENTS * WEBHOOKS
    assert set(ends.values()) == {1}
    taken_over = {(row["webhook_id"], str(row["event_id"])) for row in log if row["lost_by"] == killed}
    assert all(row["lost_by"] in (None, killed) for row in log)
    webhooks = {arrival.path: arrival.headers["X-Webhook-ID"] for arrival in receiver.arrivals}
    twice = {(webhooks[path], event_id) for (path, event_id), times in arrived.items() if times > 1}
    assert twice <= {(str(webhook_id), event_id) for webhook_id, event_id in taken_over}
    assert taken_over, "the relay was killed while it held nothing: the test shows nothing"
    assert await connection.fetchval("select sum(ended) from delivery_counts") == EVENTS * WEBHOOKS


async def _is_at_work(connection: Connection, receiver: Receiver, relay_id: object) -> None:
    async def holds_leases() -> bool:
        held: int = await connection.fetchval("select count(*) from deliveries where leased_by = $1", relay_id)
        return held > 5 and len(receiver.arrivals) > 200

    await until(holds_leases, "the relay is at work")


async def _kill_in_the_middle(connection: Connection, receiver: Receiver, victim: RelayProcess) -> object:
    killed = await connection.fetchval("select id from relays where pid = $1", victim.pid)

    await _is_at_work(connection, receiver, killed)
    victim.send(signal.SIGKILL)
    await victim.ended()
    return killed


async def _replaced(relays: Relays, old: RelayProcess) -> None:
    async def other_leads() -> bool:
        return await relays.leader() not in (None, old)

    await until(other_leads, "another relay leads")


async def test_a_killed_relay_loses_nothing_and_repeats_only_what_it_held(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    await relays.start(2)
    await _many_deliveries(connection, settings, receiver)
    killed = await _kill_in_the_middle(connection, receiver, await relays.follower())
    await _check_nothing_lost(connection, relays, receiver, killed)


async def test_a_killed_leader_is_replaced_and_loses_nothing(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    await relays.start(2)
    leader = await relays.leader()
    assert leader is not None
    await _many_deliveries(connection, settings, receiver)
    killed = await _kill_in_the_middle(connection, receiver, leader)
    await _check_nothing_lost(connection, relays, receiver, killed)
    await _replaced(relays, leader)


async def test_a_leader_whose_listen_backend_is_ended_loses_and_repeats_nothing(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    await relays.start(2)
    leader = await relays.leader()
    assert leader is not None
    await _many_deliveries(connection, settings, receiver)
    await receiver.wait_for(lambda: len(receiver.arrivals) > 200)
    assert await connection.fetchval("select pg_terminate_backend(listen_pid) from relays where leader")
    await relays.idle()
    arrived = Counter((arrival.path, arrival.event_id) for arrival in receiver.arrivals)
    assert len(arrived) == EVENTS * WEBHOOKS
    assert set(arrived.values()) == {1}


async def test_a_leader_that_is_stopped_is_replaced_and_its_late_results_change_nothing(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    await relays.start(2)
    leader = await relays.leader()
    assert leader is not None
    stopped = await connection.fetchval("select id from relays where pid = $1", leader.pid)
    await _many_deliveries(connection, settings, receiver)

    await _is_at_work(connection, receiver, stopped)
    leader.send(signal.SIGSTOP)
    await relays.idle()
    await _replaced(relays, leader)
    leader.send(signal.SIGCONT)

    async def back() -> bool:
        return bool(await connection.fetchval("select count(*) = 2 from relays"))

    await until(back, "the stopped relay is present again, under a new id")
    await _check_nothing_lost(connection, relays, receiver, stopped)
    # Requests that it had sent before it was stopped, and recorded too late.
    late = await connection.fetch("select relay_id from attempts where outcome = 'superseded'")
    assert {row["relay_id"] for row in late} <= {
        row["id"] for row in await connection.fetch("select id from relays")
    } | {stopped}
