"""Values in the database from a clock that was ahead: nothing waits for them, and nothing lasts
longer than it could have been set to."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from relay.board import Board
from relay.identity import Identity
from relay.lead import retention
from relay.watch.database import Queues
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.relay.breakers import lane
from tests.support.relay.fan_out import drain
from tests.support.relay.log import RelayLog
from tests.support.relay.parts import housekeeping, leader_identity, present
from tests.support.relay.sending import claim_one, register
from tests.support.rows import Webhook, add_webhook, write_event
from tests.support.waiting import until

LEAPS = ["1 hour", "10 days"]
OPEN = "failures = 10, failing_since = now(), failed_events = '{1,2,3}', opened_at = now()"


@pytest.fixture
async def webhook(connection: Connection, settings: Settings) -> Webhook:
    return await add_webhook(connection, settings, "http://127.0.0.1:9/", ["item-created"])


async def _claimed(pool: Pool, webhook_id: UUID, relay_id: UUID) -> list[int]:
    rows = await claim_one(pool, relay_id, webhook_id)
    return [row["position"] for row in rows if row["position"] is not None]


@pytest.mark.parametrize("leap", LEAPS)
@pytest.mark.parametrize(
    "left",
    [
        "update deliveries set leased_by = $1, fence = 1, lease_until = now() + interval '40 s' + $2::text::interval",
        f"update receiver_health set {OPEN}, probe_at = now(), probe_by = $1, probe_until = now() + interval '40 s' + $2::text::interval",
    ],
    ids=["a lease", "a probe that is out"],
)
async def test_what_a_relay_that_lives_holds_lasts_no_longer_than_it_can(
    connection: Connection, queues: Queues, webhook: Webhook, left: str, leap: str
) -> None:
    await write_event(connection)
    await drain(queues)
    relay_id = await register(connection)
    await connection.execute(left, relay_id, "0")
    assert await _claimed(queues, webhook.id, await register(connection)) == []
    await connection.execute(left, relay_id, leap)
    assert await _claimed(queues, webhook.id, await register(connection)) == [1]


@pytest.mark.parametrize("left", ["pauses = 1, paused_until", f"{OPEN}, probe_at"])
async def test_pauses_and_probes_wait_for_a_day_at_most(
    connection: Connection, queues: Queues, webhook: Webhook, left: str
) -> None:
    await write_event(connection)
    await drain(queues)
    await connection.execute(f"update receiver_health set {left} = now() + interval '24 hours'")
    assert await _claimed(queues, webhook.id, await register(connection)) == []
    await connection.execute(f"update receiver_health set {left} = now() + interval '10 days'")
    assert await _claimed(queues, webhook.id, await register(connection)) == [1]


@pytest.mark.parametrize("leap", LEAPS)
async def test_what_was_put_off_by_a_clock_that_was_ahead_waits_as_long_as_it_was_to(
    connection: Connection, settings: Settings, queues: Queues, webhook: Webhook, leap: str
) -> None:
    for _ in range(4):
        await write_event(connection)
    await drain(queues)
    put_off = "update deliveries set scheduled_at = now() + $1::text::interval, next_attempt_at = now() + $2::text::interval where position = $3"
    await connection.execute(put_off, leap, leap, 1)
    await connection.execute(put_off, leap, f"{leap} 5 minutes", 2)
    await connection.execute(put_off, "-1 minute", "10 hours", 3)
    await connection.execute(put_off, "-1 minute", "100 days", 4)
    board = Board()
    sweeps = board.sweeps
    await housekeeping(queues, settings, board=board)._reschedule()
    assert board.sweeps > sweeps, "who has room is told to look"
    assert board.take_hints() is None, "and so are the others"
    rows = await connection.fetch("select position, next_attempt_at - now() as wait from deliveries order by position")
    waits = {row["position"]: row["wait"] for row in rows}
    assert waits[1] <= timedelta(0)
    assert timedelta(minutes=4) < waits[2] <= timedelta(minutes=5)
    assert timedelta(hours=9) < waits[3] <= timedelta(hours=10), "what was meant stays"
    assert waits[4] <= timedelta(hours=24)


@pytest.mark.parametrize("leap", LEAPS)
async def test_a_lane_that_was_put_off_by_a_clock_that_was_ahead_waits_as_long_as_it_was_to(
    connection: Connection, settings: Settings, queues: Queues, webhook: Webhook, leap: str
) -> None:
    await connection.execute(
        "update receiver_health set failures = 10, failing_since = at, failed_events = '{1,2,3}', opened_at = at, changed_at = at,"
        " probe_at = at + interval '30 s', pauses = 1, paused_until = at + interval '20 s'"
        " from (select now() + $1::text::interval as at) as ahead",
        leap,
    )
    await housekeeping(queues, settings)._reschedule()
    row = await lane(connection, webhook.id)
    now: datetime = await connection.fetchval("select clock_timestamp()")
    assert row["failing_since"] <= now
    assert row["opened_at"] <= now
    assert row["probe_at"] <= now + timedelta(seconds=30)
    assert row["paused_until"] <= now + timedelta(seconds=20)


@pytest.mark.parametrize("steady", [False, True])
async def test_what_destroys_waits_for_a_clock_that_has_run_steadily(
    connection: Connection,
    settings: Settings,
    queues: Queues,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    steady: bool,
) -> None:
    monkeypatch.setattr(retention, "ANNOUNCE_SECONDS", 0.05)
    log = RelayLog(connection)
    now: datetime = await connection.fetchval("select now()")
    old = now - timedelta(days=40)
    await log.partition(old)
    await log.event(webhook.id, at=old)
    await connection.execute("insert into login_failures (identifier, ip_address, at) values ('ada', '', $1)", old)
    await connection.execute("update receiver_health set unannounced = 1")
    keeping = housekeeping(queues, settings, identity=leader_identity(), steady=steady)
    rounds = asyncio.create_task(keeping.run())
    try:
        # Steps that remove nothing run in any case.
        await until(lambda: connection.fetchval("select count(*) = 1 from outbox"), "failures are told of")
        if steady:
            gone = "select not exists (select from deliveries) and not exists (select from login_failures)"
            await until(lambda: connection.fetchval(gone), "what is too old is gone")
            dropped = f"select to_regclass('attempts_{old:%Y%m%d}') is null"
            await until(lambda: connection.fetchval(dropped), "the old day is dropped")
        else:
            await connection.execute("update receiver_health set unannounced = 1, announced_at = null")
            await until(lambda: connection.fetchval("select count(*) = 2 from outbox"), "and another round")
            assert await connection.fetchval("select count(*) from deliveries") == 1
            assert await connection.fetchval("select count(*) from login_failures") == 1
            assert await connection.fetchval(f"select to_regclass('attempts_{old:%Y%m%d}') is not null")
    finally:
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)


async def test_where_the_clock_has_jumped_webhooks_have_failed_since_then(
    connection: Connection, settings: Settings, queues: Queues, webhook: Webhook
) -> None:
    await connection.execute(f"update receiver_health set {OPEN}, probe_at = now() + interval '1 minute'")
    await connection.execute("update receiver_health set failing_since = now() - interval '10 days'")
    board = Board()
    keeping = housekeeping(queues, settings, board=board, identity=leader_identity())
    board.clock_jumped()
    rounds = asyncio.create_task(keeping.run())
    try:
        recent = "select failing_since > now() - interval '1 hour' from receiver_health"
        # Only after a jump while the relay runs: at its start, a relay has no reason to doubt the
        # rows.
        assert not await connection.fetchval(recent)
        await asyncio.sleep(0)
        board.clock_jumped()
        await until(lambda: connection.fetchval(recent), "it has failed since the jump")
    finally:
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)


async def test_a_jump_of_long_ago_is_not_acted_on_when_a_relay_begins_to_lead(
    connection: Connection, settings: Settings, queues: Queues, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ANNOUNCE_SECONDS", 0.05)
    await connection.execute(
        f"update receiver_health set {OPEN}, probe_at = now() + interval '1 minute', unannounced = 1"
    )
    await connection.execute("update receiver_health set failing_since = now() - interval '10 days'")
    board, identity = Board(), Identity()
    keeping = housekeeping(queues, settings, board=board, identity=identity, steady=True)
    rounds = asyncio.create_task(keeping.run())
    try:
        await asyncio.sleep(0)
        board.clock_jumped()
        identity.leads.set()
        await until(lambda: connection.fetchval("select count(*) = 1 from outbox"), "it keeps house")
        assert await connection.fetchval("select failing_since < now() - interval '9 days' from receiver_health")
    finally:
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)


async def test_a_lease_that_was_given_while_a_slow_claim_ran_lasts(connection: Connection) -> None:
    lasts = "select lasts(clock_timestamp() + $1::interval, clock_timestamp() - interval '10 seconds', '75 seconds')"
    assert await connection.fetchval(lasts, timedelta(seconds=74))
    assert not await connection.fetchval(lasts, timedelta(seconds=80))


async def test_a_jump_of_the_servers_clock_is_noticed_by_the_beat(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board()
    presence = present(queues, board, Identity())
    await presence.register()
    await presence._beat()
    await presence._beat()
    assert board.jumps == 0
    now = await queues.fetchval("select clock_timestamp()")

    async def leapt(*_: object, **__: object) -> dict[str, Any]:
        return {"now": now + timedelta(days=10), "peers": []}

    monkeypatch.setattr("relay.watch.presence._SQL", _Leapt(leapt))
    await presence._beat()
    assert board.jumps == 1


class _Leapt:
    """The statements of presence, with a beat that is answered by a server whose clock has
    leapt."""

    def __init__(self, fetchrow: Any) -> None:
        self.beat = self
        self.fetchrow = fetchrow


def _state() -> dict[str, Any]:
    numbers = dict.fromkeys(("in_flight", "delivered", "attempted", "poll_wakes", "listen_number"), 0)
    return {
        **numbers,
        "leader": False,
        "listen_pid": None,
        "listen_start": None,
        "deliver_rate": 0.0,
        "attempt_rate": 0.0,
    }


async def test_an_attempt_is_never_logged_before_its_event(
    connection: Connection, queues: Queues, webhook: Webhook
) -> None:
    """The log of a delivery is searched from its event's time on. A retry or a replay would not
    find earlier attempts."""
    await write_event(connection)
    await drain(queues)
    ahead = "now() + interval '2 days'"
    await connection.execute(f"update events set recorded_at = {ahead}")
    await connection.execute("update deliveries set event_at = (select recorded_at from events)")
    relay_id = await register(connection)
    [row] = await claim_one(queues, relay_id, webhook.id)
    record = load("record").record
    result = (
        webhook.id, row["position"], row["fence"], row["event_id"], row["event_type"], row["event_at"], 1, "success",
        *((None,) * 16),
    )  # fmt: skip
    await record.fetchrow(queues, relay_id=relay_id, results=[result])
    assert await connection.fetchval("select a.recorded_at >= e.recorded_at from attempts as a, events as e")


async def test_the_newer_of_two_backends_is_listened_on_whatever_their_start_times(
    connection: Connection, queues: Queues
) -> None:
    relay_id = await register(connection)
    presence, lead = load("presence"), load("listen")
    now = await connection.fetchval("select now()")
    await lead.listens.execute(queues, id=relay_id, pid=1, start=now, number=1)
    # The server's clock was set back before the next backend started.
    await lead.listens.execute(queues, id=relay_id, pid=2, start=now - timedelta(days=10), number=2)
    mark = new_id()
    await connection.execute("update relays set mark = $1", mark)
    for pid, start, number in ((1, now, 1), (2, now - timedelta(days=10), 2)):
        state = (
            {"mark": mark, "marks": [mark]}
            | _state()
            | {"listen_pid": pid, "listen_start": start, "listen_number": number}
        )
        await presence.beat.fetchrow(queues, id=relay_id, **state)
        assert await connection.fetchval("select listen_pid from relays") == 2
