"""Work that no hint announced is found without the poll: the reply of a statement was lost, or the
relay that would have sent the hint has ended."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

import asyncpg
import pytest
from aiohttp import web
from asyncpg.transaction import Transaction

from relay.board import Board
from relay.lead.fanout import MAX_EVENTS, FanOut
from relay.lead.replay import Replay
from relay.transport import HttpTransport
from relay.watch.outage import Outage
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import WAITING, Connection
from tests.support.postgres.cutting_proxy import cutting_proxy
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.parts import leader_identity
from tests.support.relay.processes import Relays
from tests.support.relay.sending import Sending, register
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

NEVER = {"RELAY_POLL_INTERVAL": "86400000"}
# The rows that a removed relay has recorded: a retry of each event in the log, this many seconds
# apart.
RETRIES = """
    insert into deliveries (webhook_id, position, event_id, event_type, event_at, attempts, next_attempt_at)
    select $1, position, id, type, recorded_at, 1, now() + make_interval(secs => $2 * position) from events
"""


@asynccontextmanager
async def waiting_fan_out(connection: Connection, database_url: str) -> AsyncIterator[None]:
    """A fan-out of one event, which does not finish before this block ends."""
    blocker = await asyncpg.connect(database_url)
    try:
        async with blocker.transaction():
            await blocker.execute("select from log_head for update")
            await write_event(connection, routed=True)
            await until(lambda: connection.fetchval(WAITING), "fan-out waits")
            yield
    finally:
        await blocker.close()


async def test_leases_of_a_fan_out_that_is_committed_after_its_connection_was_cut(
    connection: Connection, settings: Settings, receiver: Receiver, relays: Relays, database_url: str
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"], timeout_ms=60_000)
    async with cutting_proxy(database_url) as proxy:
        await relays.start(1, **NEVER, DATABASE_URL=proxy.url)
        await write_event(connection, routed=True)
        await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
        await relays.idle()
        async with waiting_fan_out(connection, database_url):
            proxy.cut_listeners()
            # The relay looks for leases that it may have been given, and there are none yet.
            await asyncio.sleep(0.3)
        await until(lambda: connection.fetchval("select not exists (select from outbox)"), "it is committed")
        proxy.admit()
        await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
        # Now the relay still reaches the server. Later it would try to leave for as long as its
        # grace.
        await relays.stop()


async def test_a_fan_out_that_outlives_a_leader_that_was_told_to_stop(
    connection: Connection, settings: Settings, receiver: Receiver, relays: Relays, database_url: str
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"], timeout_ms=60_000)
    await relays.start(2, **NEVER, RELAY_GRACE="300")
    leader = await relays.leader()
    assert leader is not None
    async with waiting_fan_out(connection, database_url):
        leader.send(signal.SIGTERM)
        await leader.ended()
        # The old leader's backend does not keep the lock while its statement waits.
        await until(relays.leader, "another leads")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)


async def test_a_fan_out_that_takes_too_long_is_tried_with_less(
    connection: Connection, settings: Settings, receiver: Receiver, relays: Relays
) -> None:
    """A delivery takes four milliseconds, and a statement may take one second. So 500 deliveries
    never fit, however often they are tried."""
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    for statement in (
        "create function dawdle() returns trigger language plpgsql as 'begin perform pg_sleep(0.004); return new; end'",
        "create trigger dawdle before insert on deliveries for each row execute function dawdle()",
    ):
        await connection.execute(statement)
    await write_event(connection, routed=True)
    more = (
        "insert into outbox (type, data, audience, location_ids, user_ids)"
        " select type, data, audience, location_ids, user_ids from outbox cross join generate_series(2, $1)"
    )
    await connection.execute(more, 600)
    relay = await relays.start_changed(
        "from relay.lead import listen, look\nlisten.COMMAND_TIMEOUT = look.COMMAND_TIMEOUT = 1.0"
    )
    await until(lambda: connection.fetchval("select not exists (select from outbox)"), "all is fanned out")
    assert any("away" in line["event"] for line in relay.log())
    # All events of a batch have one time. Batches stay small while they take long, and grow again
    # later.
    largest = "select max(count) from (select count(*) from events group by recorded_at) as batches"
    assert await connection.fetchval(largest) < MAX_EVENTS
    await connection.execute("drop trigger dawdle on deliveries")
    async with connection.transaction():
        await write_event(connection, routed=True)
        await connection.execute(more, 6000)
    await until(lambda: connection.fetchval("select not exists (select from outbox)"), "the rest is fanned out")
    assert await connection.fetchval(largest) == MAX_EVENTS


async def test_who_leaves_tells_those_that_it_has_not_counted_yet(relays: Relays, database_url: str) -> None:
    (relay,) = await relays.start(1, **NEVER)
    messages: list[str] = []
    listener = await asyncpg.connect(database_url)
    await listener.add_listener("jossiedb_work", lambda *message: messages.append(str(message[3])))
    relay.send(signal.SIGTERM)
    await relay.ended()

    async def notified() -> bool:
        return [message.partition(" ")[2] for message in messages] == ["*"]

    await until(notified, "it has notified all relays")
    await listener.close()


async def test_who_sees_that_a_relay_is_gone_tells_the_others(relays: Relays, database_url: str) -> None:
    await relays.start(2, **NEVER)
    victim = await relays.follower()
    messages: list[str] = []
    listener = await asyncpg.connect(database_url)
    await listener.add_listener("jossiedb_work", lambda *message: messages.append(str(message[3])))
    victim.send(signal.SIGKILL)

    async def notified() -> bool:
        return any(message.endswith(" *") for message in messages)

    await until(notified, "the others are notified")
    await listener.close()


def lose_one(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Loses the reply to one COMMIT."""
    whole, lost = Transaction.__aexit__, list[object]()

    async def aexit(
        self: Transaction, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await whole(self, kind, error, trace)
        if not lost and kind is None:
            lost.append(self)
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    monkeypatch.setattr(Transaction, "__aexit__", aexit)
    return lost


async def test_what_a_result_made_due_whose_answer_was_lost(
    connection: Connection, settings: Settings, receiver: Receiver, queues: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-updated"], ordering="item", on_failure="block")
    item = json.dumps({"itemId": str(new_id())})
    for _ in range(2):
        await write_event(connection, "item-updated", item, routed=True)
    await FanOut(queues).batch()
    lost = lose_one(monkeypatch)
    transport = HttpTransport(settings.webhook_allowed_networks)
    sending = Sending(queues, settings, await register(connection), transport)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    assert lost
    await sending.stop()
    await transport.close()


async def test_what_a_replay_queued_whose_answer_was_lost(
    connection: Connection, settings: Settings, queues: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_event(connection, routed=True)
    await FanOut(queues).batch()
    webhook = await add_webhook(connection, settings, "http://127.0.0.1:9/", ["item-created"])
    await connection.execute(
        "insert into replay_jobs (webhook_id, since, until, wanted, position, through)"
        " values ($1, now() - interval '1 hour', now() + interval '1 hour', 'missing', 0, 1)",
        webhook.id,
    )
    board = Board()
    sweeps = board.sweeps
    replay = Replay(queues, board, Outage(board), leader_identity(), ttl_seconds=86_400, poll_seconds=3600)
    lost = lose_one(monkeypatch)
    running = asyncio.create_task(replay.run())

    async def swept() -> bool:
        return board.sweeps > sweeps

    await until(swept, "a sweep is asked for")
    assert lost
    assert await connection.fetchval("select count(*) from deliveries") == 1
    running.cancel()
    await asyncio.wait([running])


async def test_what_has_to_wait_for_a_request_that_was_given_up_is_sent_when_that_is_over(
    connection: Connection, settings: Settings, receiver: Receiver, relays: Relays
) -> None:
    webhook = await add_webhook(
        connection, settings, receiver.url, ["item-updated"], ordering="item", on_failure="block"
    )
    await relays.start(1, **NEVER)
    item = json.dumps({"itemId": str(new_id())})
    await write_event(connection, "item-updated", item, routed=True)
    await relays.idle()
    await connection.execute(
        "update item_orders set not_before = now() + interval '1.5 s' where webhook_id = $1", webhook.id
    )
    await write_event(connection, "item-updated", item, routed=True)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    await relays.idle()
    assert await connection.fetchval(
        "select bool_and(started_at >= not_before) from attempts, item_orders where attempt = 1 and attempts.sequence = 2"
    )


@pytest.mark.parametrize("rate", [None, 1], ids=["as fast as it can", "with a rate"])
async def test_each_retry_of_a_relay_that_is_gone_is_sent_when_it_is_due(
    connection: Connection, settings: Settings, receiver: Receiver, relays: Relays, rate: int | None
) -> None:
    """One sweep finds the first retry. An earlier look, or the end of the first, must not make the
    relay forget the others."""
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    for _ in range(2):
        await write_event(connection, routed=True)
    await connection.execute("update webhooks set active = false")
    (relay,) = await relays.start(1, **NEVER)
    await until(lambda: connection.fetchval("select count(*) = 2 from events"), "both are in the log")
    relay.send(signal.SIGTERM)
    await relay.ended()
    await connection.execute(RETRIES, webhook.id, 1.5)
    await connection.execute(
        "update webhooks set active = true, rate_per_second = $1, rate_burst = $1, version = version + 1", rate
    )
    await relays.start(1, **NEVER)
    if rate is not None:
        await write_event(connection, routed=True)
    await receiver.wait_for(lambda: len(receiver.arrivals) == (2 if rate is None else 3))


async def test_a_retry_is_sent_though_the_servers_clock_was_set_back(
    connection: Connection, settings: Settings, receiver: Receiver, relays: Relays
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"], retry_delay_ms=1000)

    async def answer(_: Arrival) -> web.StreamResponse:
        return web.Response(status=500 if len(receiver.arrivals) == 1 else 200)

    receiver.answer = answer
    await relays.start(1, **NEVER)
    await write_event(connection, routed=True)
    await until(lambda: connection.fetchval("select count(*) from deliveries where attempts = 1"), "the retry waits")
    # The effect of a clock that is set back: the relay looks by its own clock, too early.
    await connection.execute("update deliveries set next_attempt_at = next_attempt_at + interval '1 s'")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
