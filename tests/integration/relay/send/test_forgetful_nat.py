"""A receiver behind a NAT that has forgotten the relays' kept connections."""

import asyncio
import signal

from aiohttp import web

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.forgetful_nat import forgetful_nat
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

KEPT = 12


async def test_the_first_retry_of_a_delivery_over_a_forgotten_connection_succeeds(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    barrier = asyncio.Barrier(KEPT)

    async def answer_together(_: Arrival) -> web.StreamResponse:
        await barrier.wait()
        return web.Response()

    async def answer(_: Arrival) -> web.StreamResponse:
        return web.Response()

    receiver.answer = answer_together
    async with forgetful_nat(receiver.url) as nat:
        await add_webhook(connection, settings, nat.url, ["item-created"], max_retries=3, timeout_ms=5000)
        await relays.start()
        for _ in range(KEPT):
            await write_event(connection)
        await receiver.wait_for(lambda: len(receiver.arrivals) == KEPT)
        await relays.idle()
        assert nat.opened == KEPT
        receiver.answer = answer
        nat.forget()
        event_id = await write_event(connection)
        await relays.idle()
        attempts = await connection.fetch(
            "select outcome, error, connect_us is not null as dialled from attempts where event_id = $1 order by attempt",
            event_id,
        )
    assert [tuple(attempt) for attempt in attempts] == [
        ("retry", "no complete answer within 5000 ms", False),
        ("success", None, True),
    ]
    assert receiver.ids().count(str(event_id)) == 1


async def test_a_retry_by_another_relay_does_not_go_over_its_own_forgotten_connection(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    """Each of two relays keeps a connection. The relay that sends the retry has not seen the first
    attempt fail."""
    hold = asyncio.Event()

    async def answer(_: Arrival) -> web.StreamResponse:
        await hold.wait()
        return web.Response()

    receiver.answer = answer
    async with forgetful_nat(receiver.url) as nat:
        await add_webhook(
            connection, settings, nat.url, ["item-created"], max_retries=3, retry_delay_ms=3000, timeout_ms=5000
        )
        # With one slot each, either relay sends one of the two requests.
        await relays.start(2, RELAY_CONCURRENCY="1")
        for _ in range(2):
            await write_event(connection)
        await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
        hold.set()
        await relays.idle()
        assert nat.opened == 2
        nat.forget()
        event_id = await write_event(connection)

        async def holder() -> object:
            return await connection.fetchval(
                "select r.pid from deliveries d join relays r on r.id = d.leased_by where d.event_id = $1", event_id
            )

        await until(holder, "a relay sends it")
        pid = await holder()
        [sender] = [relay for relay in relays.started if relay.pid == pid]

        async def failed() -> object:
            return await connection.fetchval("select true from attempts where event_id = $1", event_id)

        await until(failed, "the first attempt fails")
        sender.send(signal.SIGKILL)
        await relays.idle()
        attempts = await connection.fetch("select outcome from attempts where event_id = $1 order by attempt", event_id)
    assert [attempt["outcome"] for attempt in attempts] == ["retry", "success"]
