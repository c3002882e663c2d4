"""The leader waits a moment for writers in flight: until it gets the doorbell's lock, or until a
time has passed."""

import asyncio
import os
import signal

import pytest

from relay.lead import doorbell
from relay.lead.doorbell import LeaderState
from relay.lead.fanout import FanOut
from service.platform.settings import Settings
from tests.support.database import Connection, SomebodyWaits
from tests.support.receivers.receiver import Receiver
from tests.support.relay.fan_out import RING, wake
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

FOR_EVER_MS = 600_000
# In this relay, only the end of a writer can wake the leader in time.
PATIENT_RELAY = f"""
from relay.lead import doorbell
from relay.lead import look
doorbell.PATIENCE_MS = {FOR_EVER_MS}
doorbell.BUSY_SECONDS = ({FOR_EVER_MS / 1000},)
look.PROBE_TIMEOUT = {FOR_EVER_MS / 1000}
"""

# In this relay, looks never wait for writers, although they are asked to. It exits if it looks
# without a pause.
DECLINING_RELAY = f"""
import os
from relay.lead import doorbell
from relay.lead import fanout
doorbell.BUSY_SECONDS = ({FOR_EVER_MS / 1000},)
looks = []
look = fanout.FanOut._oldest
async def look_at_once(self, limit, offer, *, patience_ms, **looking):
    looks.append(patience_ms)
    if len(looks) > 100:
        os._exit(1)
    return await look(self, limit, offer, patience_ms=0, **looking)
fanout.FanOut._oldest = look_at_once
"""


async def look(leader: Connection, patience_ms: int = 0) -> tuple[int, LeaderState]:
    """The number of events that the look moves, and the leader's state after it."""
    batch = await FanOut(leader).batch(sleep_if_idle=True, patience_ms=patience_ms)
    return batch.events, batch.state


@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_the_leader_falls_asleep_when_the_last_writer_has_ended(
    connection: Connection,
    another_connection: Connection,
    third: Connection,
    somebody_waits: SomebodyWaits,
    ends: str,
) -> None:
    leader, writer = another_connection, connection
    transaction = writer.transaction()
    await transaction.start()
    await write_event(writer, routed=True)
    assert await look(leader) == (0, "busy")
    assert await third.fetchval(RING), "it is awake"
    waiting = asyncio.create_task(look(leader, FOR_EVER_MS))
    await somebody_waits()
    assert not await third.fetchval(RING), "who begins while it waits rings"
    await (transaction.commit() if ends == "commit" else transaction.rollback())
    assert await waiting == (int(ends == "commit"), "asleep")
    assert not await third.fetchval(RING)
    assert await wake(leader) == 0
    assert await third.fetchval(RING), "it held it once"


async def test_the_leader_does_not_wait_long_for_a_writer_that_stays_open(
    connection: Connection, another_connection: Connection
) -> None:
    leader, writer = connection, another_connection
    async with writer.transaction():
        await write_event(writer)
        assert await look(leader, doorbell.PATIENCE_MS) == (0, "busy")
        # The leader neither waits any more nor holds the lock.
        assert await leader.fetchval(RING)
    assert await leader.fetchval("show lock_timeout") == "0"
    assert await look(leader) == (1, "asleep")
    assert await wake(leader) == 0
    assert await writer.fetchval(RING), "it held it once"


async def test_a_relay_that_found_a_writer_in_flight_looks_when_that_has_ended(
    connection: Connection,
    settings: Settings,
    receiver: Receiver,
    relays: Relays,
    another_connection: Connection,
    third: Connection,
    somebody_waits: SomebodyWaits,
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    await relays.start_changed(PATIENT_RELAY, RELAY_POLL_INTERVAL="86400000")

    async def asleep() -> bool:
        return not await another_connection.fetchval(RING)

    await until(asleep, "the leader sleeps")
    async with another_connection.transaction():
        async with connection.transaction():
            await connection.execute("select from log_head for update")
            await write_event(third)
            await somebody_waits()
            # The leader is awake, so this writer does not ring.
            await write_event(another_connection)
        await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
        await somebody_waits()
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    await until(asleep, "it sleeps again")
    assert await relays.poll_wakes() == 0


async def test_a_lock_that_is_granted_as_the_time_runs_out_is_let_go_of(
    connection: Connection, another_connection: Connection, third: Connection, somebody_waits: SomebodyWaits
) -> None:
    """The server then reports an error, although it has granted the lock."""
    leader, writer = another_connection, third
    backend = leader.get_server_pid()
    transaction = writer.transaction()
    await transaction.start()
    assert await writer.fetchval(RING)
    waiting = asyncio.create_task(look(leader, 500))
    await somebody_waits()
    os.kill(backend, signal.SIGSTOP)
    try:
        await transaction.rollback()
        await asyncio.sleep(0.6)
    finally:
        os.kill(backend, signal.SIGCONT)
    assert await waiting == (0, "asleep")
    assert not await writer.fetchval(RING)
    assert await wake(leader) == 0
    assert await writer.fetchval(RING), "it held it once"


async def test_how_long_it_waited_is_known_and_that_it_did_not(
    connection: Connection, another_connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, writer = connection, another_connection
    fanout = FanOut(leader)
    await fanout.batch(patience_ms=60_000)
    assert fanout.waited is not None
    assert 0 <= fanout.waited < 60
    async with writer.transaction():
        await writer.fetchval(RING)
        await fanout.batch(patience_ms=20)
        assert fanout.waited >= 0.02
        # A batch that is not asked to wait keeps the figure.
        await fanout.batch()
        assert fanout.waited >= 0.02
        monkeypatch.setattr(FanOut, "few", False)
        await fanout.batch(patience_ms=60_000)
        assert fanout.waited is None


async def test_a_leader_that_could_not_wait_leaves_writers_alone(
    connection: Connection,
    settings: Settings,
    receiver: Receiver,
    relays: Relays,
    another_connection: Connection,
    third: Connection,
    somebody_waits: SomebodyWaits,
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    relay = await relays.start_changed(DECLINING_RELAY, RELAY_POLL_INTERVAL="86400000")

    async def asleep() -> bool:
        return not await third.fetchval(RING)

    await until(asleep, "the leader sleeps")
    async with another_connection.transaction():
        async with connection.transaction():
            await connection.execute("select from log_head for update")
            await write_event(third, routed=True)
            await somebody_waits()
            await write_event(another_connection, routed=True)
        await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
        await asyncio.sleep(1)
        assert relay.exit_code is None, "it looked without a pause"
    # The relay's pause does not end here, so the test must ring.
    await connection.execute("notify jossiedb_wake")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
