"""One owner's requests that are never answered do not hold up other owners, in a relay process with
the default slots."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from aiohttp import web

from relay.lead.fanout import FanOut
from relay.send.tester import MAX_TESTS, TESTS_KEPT
from service.platform.db import Pool
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver, accept, receiving
from tests.support.relay.processes import Relays
from tests.support.rows import add_user, add_webhook
from tests.support.waiting import until

NEVER = "86400000"
# The longest timeout that a webhook may have: no held request ends by itself within a test.
HELD_MS = 60_000
ATTACK, HONEST = "item-created", "item-updated"
# A relay's slots, their main part, which one owner alone may use, and those of one webhook.
SLOTS, MAIN, PER_WEBHOOK = 352, 264, 64
# Slots for one origin, and those of them that one owner may use.
ORIGIN, ORIGIN_MAIN = 288, 192


@dataclass
class Holding:
    """Receivers, each an origin of its own, that answer nothing until they are released."""

    receivers: list[Receiver] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    held: int = 0

    async def answer(self, arrival: Arrival) -> web.StreamResponse:
        self.held += 1
        await self.may_answer.wait()
        self.held -= 1
        return await accept(arrival)

    @property
    def paths(self) -> list[str]:
        return [arrival.path for receiver in self.receivers for arrival in receiver.arrivals]


@pytest.fixture
async def holding() -> AsyncIterator[Holding]:
    """Request this fixture before `relays`, so that the relays end first."""
    holding = Holding()
    async with AsyncExitStack() as stack:
        for _ in range(8):
            holding.receivers.append(await stack.enter_async_context(receiving(holding.answer)))
        try:
            yield holding
        finally:
            holding.may_answer.set()


async def write_events(connection: Connection, event_type: str, count: int) -> None:
    await connection.execute(
        'insert into outbox (type, data) select $1, \'{"name":"x"}\' from generate_series(1, $2)', event_type, count
    )


async def attackers(
    connection: Connection, settings: Settings, holding: Holding, owners: int, *, webhooks: int = 8
) -> list[UUID]:
    """Adds this many owners with this many webhooks each, one at each holding receiver. Returns the
    owners."""
    ids = [await add_user(connection) for _ in range(owners)]
    for number, owner_id in enumerate(ids):
        for webhook in range(webhooks):
            url = f"{holding.receivers[webhook % len(holding.receivers)].url}/{number}"
            await add_webhook(connection, settings, url, [ATTACK], owner_id=owner_id, timeout_ms=HELD_MS)
    return ids


@pytest.mark.parametrize("owners", [1, 50])
async def test_what_attackers_hold_keeps_nothing_of_another_owner_waiting(
    owners: int, connection: Connection, settings: Settings, receiver: Receiver, holding: Holding, relays: Relays
) -> None:
    """Eight webhooks of each attacker and 75 events that nobody answers, then 75 events for the
    five webhooks of an honest owner."""
    await attackers(connection, settings, holding, owners)
    honest = await add_user(connection)
    for number in range(5):
        await add_webhook(connection, settings, f"{receiver.url}/{number}", [HONEST], owner_id=honest)
    await relays.start(1, RELAY_POLL_INTERVAL=NEVER, RELAY_GRACE="0")
    await write_events(connection, ATTACK, 75)

    async def full() -> bool:
        return holding.held >= MAIN

    await until(full, "the main part of the slots is held")
    for _ in range(5):
        await write_events(connection, HONEST, 15)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 5 * 75)
    assert MAIN <= holding.held == len(holding.paths) <= MAIN + owners
    assert await relays.poll_wakes() == 0


async def test_one_owner_alone_has_all_slots_but_the_reserve(
    connection: Connection, settings: Settings, holding: Holding, relays: Relays
) -> None:
    await attackers(connection, settings, holding, 1)
    await relays.start(1, RELAY_POLL_INTERVAL=NEVER, RELAY_GRACE="0")
    await write_events(connection, ATTACK, 75)

    async def full() -> bool:
        return holding.held >= MAIN

    await until(full, "the main part of the slots is held")
    # A new webhook's delivery shows that the relay has looked again.
    newcomer = await add_webhook(connection, settings, f"{holding.receivers[0].url}/newcomer", [HONEST])
    await connection.execute("update webhooks set timeout_ms = $1 where id = $2", HELD_MS, newcomer.id)
    await write_events(connection, HONEST, 1)
    await holding.receivers[0].wait_for(lambda: "/newcomer" in holding.paths)
    assert holding.held == MAIN + 1


@pytest.mark.parametrize(("owners", "most"), [(1, ORIGIN_MAIN), (50, ORIGIN)])
async def test_an_origin_is_sent_no_more_at_once_than_its_bound_and_all_in_the_end(
    owners: int, most: int, connection: Connection, settings: Settings, relays: Relays
) -> None:
    """300 webhooks of one host, and an event for all of them."""
    holding = Holding()
    async with receiving(holding.answer) as slow, receiving() as other:
        holding.receivers.append(slow)
        await attackers(connection, settings, holding, owners, webhooks=300 // owners)
        await add_webhook(connection, settings, other.url, [HONEST])
        await relays.start(1, RELAY_POLL_INTERVAL=NEVER)
        await write_events(connection, ATTACK, 1)
        # With many owners, those whose six webhooks are not among the first get one more slot each.
        least = ORIGIN_MAIN if owners == 1 else ORIGIN_MAIN + 10
        await slow.wait_for(lambda: len(slow.arrivals) >= least)
        # Deliveries that wait for that origin take no slot of others, and are not claimed again and
        # again.
        for number in range(3):
            await write_events(connection, HONEST, 1)
            await other.wait_for(lambda number=number: len(other.arrivals) > number)  # type: ignore[misc]
        assert least <= holding.held == len(slow.arrivals) <= most
        if owners > 1:
            assert len(set(holding.paths)) > owners // 2, "its owners share it"
        holding.may_answer.set()
        await slow.wait_for(lambda: len(slow.arrivals) == 300)
        await relays.idle()
        assert (
            await connection.fetchval("select count(*) from attempts where outcome <> 'success' or attempt <> 1") == 0
        )


@pytest.mark.parametrize("how", ["retries", "probes"])
async def test_retries_and_probes_meet_the_same_fairness(
    how: str,
    connection: Connection,
    settings: Settings,
    pool: Pool,
    receiver: Receiver,
    holding: Holding,
    relays: Relays,
) -> None:
    await attackers(connection, settings, holding, 1, webhooks=300 if how == "probes" else 8)
    await add_webhook(connection, settings, receiver.url, [HONEST])
    await write_events(connection, ATTACK, 1 if how == "probes" else 75)
    await FanOut(pool).batch()
    if how == "retries":
        await connection.execute("update deliveries set attempts = 1")
    else:
        await connection.execute(
            "update receiver_health set failures = 10, failing_since = now(), opened_at = now(), probe_at = now()"
            " where webhook_id in (select webhook_id from deliveries)"
        )
    await relays.start(1, RELAY_POLL_INTERVAL=NEVER, RELAY_GRACE="0")

    async def full() -> bool:
        return holding.held >= MAIN

    await until(full, "the main part of the slots is held")
    await write_events(connection, HONEST, 1)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)
    # While the other owner's request is in flight, the attacker may use one slot of the reserve.
    assert MAIN <= holding.held == len(holding.paths) <= MAIN + 1
    envelopes = [arrival.envelope for each in holding.receivers for arrival in each.arrivals]
    assert {envelope["attempt"] for envelope in envelopes} == ({2} if how == "retries" else {1})


async def test_somebody_elses_test_is_answered_beside_256_that_are_held(
    connection: Connection, settings: Settings, receiver: Receiver, holding: Holding, relays: Relays
) -> None:
    webhooks = 64
    await attackers(connection, settings, holding, 1, webhooks=webhooks)
    honest = await add_webhook(connection, settings, receiver.url, [HONEST])
    await relays.start(1, RELAY_POLL_INTERVAL=NEVER, RELAY_GRACE="0")
    await connection.execute(
        "insert into webhook_tests (webhook_id, expires_at)"
        " select id, now() + interval '65 seconds' from webhooks, generate_series(1, 4) where id <> $1",
        honest.id,
    )
    await connection.execute("insert into lane_wakes select id from webhooks limit 1")

    async def full() -> bool:
        return holding.held >= TESTS_KEPT

    await until(full, "one owner's tests have all that an owner may have")
    await connection.execute(
        "insert into webhook_tests (webhook_id, expires_at) values ($1, now() + interval '35 seconds')", honest.id
    )
    await connection.execute("insert into lane_wakes values ($1)", honest.id)

    async def answered() -> bool:
        return bool(
            await connection.fetchval("select status = 200 from webhook_tests where webhook_id = $1", honest.id)
        )

    await until(answered, "somebody else's test is answered")
    assert holding.held == MAX_TESTS - TESTS_KEPT
    # The waiting tests begin as others end.
    holding.may_answer.set()

    async def all_answered() -> bool:
        return not await connection.fetchval("select exists (select from webhook_tests where finished_at is null)")

    await until(all_answered, "all tests are answered")


async def test_a_test_at_an_origin_that_is_full_for_its_owner_says_so_at_once(
    connection: Connection, settings: Settings, holding: Holding, relays: Relays
) -> None:
    owner_id = await add_user(connection)
    url = holding.receivers[0].url
    for _ in range(ORIGIN_MAIN // PER_WEBHOOK):
        webhook = await add_webhook(connection, settings, url, [ATTACK], owner_id=owner_id, timeout_ms=HELD_MS)
    await relays.start(1, RELAY_POLL_INTERVAL=NEVER, RELAY_GRACE="0")
    await write_events(connection, ATTACK, PER_WEBHOOK)
    await holding.receivers[0].wait_for(lambda: holding.held == ORIGIN_MAIN)

    async def ask() -> None:
        await connection.execute(
            "insert into webhook_tests (webhook_id, expires_at) values ($1, now() + interval '65 seconds')", webhook.id
        )
        await connection.execute("insert into lane_wakes values ($1)", webhook.id)

    # The first test takes the one slot that this origin keeps for an owner whose requests hold the
    # others.
    await ask()
    await holding.receivers[0].wait_for(lambda: holding.held == ORIGIN_MAIN + 1)
    await ask()

    async def answered() -> str | None:
        error: str | None = await connection.fetchval("select error from webhook_tests where finished_at is not null")
        return error

    await until(answered, "the second is answered")
    assert "too many requests to this host" in (await answered() or "")
    assert holding.held == ORIGIN_MAIN + 1


async def test_webhooks_that_hang_leave_room_at_their_origin_for_the_others_of_their_owner(
    connection: Connection, settings: Settings, holding: Holding, relays: Relays
) -> None:
    """At one host, two webhooks of an owner hang and a third does not."""
    receiver = holding.receivers[0]
    owner_id = await add_user(connection)
    for number in range(2):
        url = f"{receiver.url}/hangs/{number}"
        await add_webhook(connection, settings, url, [ATTACK], owner_id=owner_id, timeout_ms=HELD_MS)
    await add_webhook(connection, settings, f"{receiver.url}/well", [HONEST], owner_id=owner_id)

    async def answer(arrival: Arrival) -> web.StreamResponse:
        return await (accept if arrival.path == "/well" else holding.answer)(arrival)

    receiver.answer = answer
    await relays.start(1, RELAY_POLL_INTERVAL=NEVER, RELAY_GRACE="0")
    await write_events(connection, ATTACK, 100)
    await receiver.wait_for(lambda: holding.held == 2 * PER_WEBHOOK)
    await write_events(connection, HONEST, 20)
    await receiver.wait_for(lambda: holding.paths.count("/well") == 20)
    assert holding.held == 2 * PER_WEBHOOK


async def test_webhooks_that_turn_slow_all_at_once_leave_room_for_others(
    connection: Connection, settings: Settings, receiver: Receiver, holding: Holding, relays: Relays
) -> None:
    """Each has answered at once before, so it counts as quick."""
    await attackers(connection, settings, holding, 20)
    honest = await add_user(connection)
    for number in range(3):
        await add_webhook(connection, settings, f"{receiver.url}/{number}", [HONEST], owner_id=honest)
    await relays.start(1, RELAY_POLL_INTERVAL=NEVER, RELAY_GRACE="0")
    for each in holding.receivers:
        each.answer = accept
    await write_events(connection, ATTACK, 1)
    await relays.idle()
    for each in holding.receivers:
        each.answer = holding.answer
    await write_events(connection, ATTACK, 75)

    async def full() -> bool:
        return holding.held >= MAIN

    await until(full, "the main part of the slots is held")
    await write_events(connection, HONEST, 20)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 60)
    assert holding.held < SLOTS


async def test_owners_with_a_backlog_share_the_slots_and_each_gets_what_others_leave(
    connection: Connection, settings: Settings, pool: Pool, holding: Holding, relays: Relays
) -> None:
    """Three owners of 8 webhooks with 75 events, and one with 5 deliveries, are all due when the
    relay begins."""
    owners = await attackers(connection, settings, holding, 3)
    few = await add_webhook(connection, settings, f"{holding.receivers[0].url}/few", [HONEST])
    await connection.execute("update webhooks set timeout_ms = $1 where id = $2", HELD_MS, few.id)
    await write_events(connection, ATTACK, 75)
    await write_events(connection, HONEST, 5)
    while (await FanOut(pool).batch()).full:
        pass
    await relays.start(1, RELAY_POLL_INTERVAL=NEVER, RELAY_GRACE="0")

    async def full() -> bool:
        return holding.held >= MAIN

    await until(full, "the main part of the slots is held")
    shares = Counter(holding.paths)
    assert shares.pop("/few") == 5
    assert shares.total() >= MAIN - 5
    assert len(shares) == len(owners)
    assert max(shares.values()) - min(shares.values()) <= 8
