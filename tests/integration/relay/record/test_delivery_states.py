"""The diagram in docs/DELIVERIES.md shows the states of a delivery that the database allows. Every
step in it is taken."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web

from relay.lead.fanout import FanOut
from relay.record.order import Order
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.queries import load
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook, retry
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.log import Event, RelayLog
from tests.support.relay.processes import Relays
from tests.support.state_diagrams import drawn, states, taken_by
from tests.support.waiting import until

DELIVERY = drawn("DELIVERIES.md", "States of a delivery")
QUEUED, ENDS = {"waiting", "behind", "retry", "leased"}, {"success", "failed", "cancelled", "expired"}
# The state of a row in the queue, by the guide's table.
QUEUE_STATE = """
create function state(d deliveries) returns text language sql as $$
  select case when d.leased_by is not null and d.lease_until is not null and d.fence is not null then 'leased'
              when d.leased_by is not null or d.lease_until is not null or d.fence is not null then 'undrawn'
              when d.next_attempt_at is null then 'behind'
              when d.attempts = d.attempts_before then 'waiting'
              when d.attempts > d.attempts_before then 'retry'
              else 'undrawn' end
$$
"""
# Records the steps as the database sees them. A delivery leaves the queue and its end is logged in
# one transaction.
WATCH = (
    QUEUE_STATE,
    "create table step (seq int generated always as identity, webhook_id uuid, position bigint, was text, now text)",
    """
    create function watch_queue() returns trigger language plpgsql as $$
    declare
      was text;
    begin
      if tg_op = 'INSERT' then
        select outcome into was from attempts
         where webhook_id = new.webhook_id and position = new.position and retried_at is not null
         order by retried_at desc, attempt desc limit 1;
        insert into step (webhook_id, position, was, now) values (new.webhook_id, new.position, coalesce(was, '[*]'), state(new));
      elsif tg_op = 'UPDATE' then
        insert into step (webhook_id, position, was, now) values (new.webhook_id, new.position, state(old), state(new));
      else
        insert into step (webhook_id, position, was) values (old.webhook_id, old.position, state(old));
      end if;
      return null;
    end
    $$
    """,
    """
    create function watch_ends() returns trigger language plpgsql as $$
    begin
      update step set now = new.outcome where webhook_id = new.webhook_id and position = new.position and now is null;
      return null;
    end
    $$
    """,
    "create trigger watch after insert or update or delete on deliveries for each row execute function watch_queue()",
    """
    create constraint trigger watch after insert on attempts deferrable initially deferred for each row
      when (new.outcome in ('success', 'failed', 'cancelled', 'expired')) execute function watch_ends()
    """,
)


@asynccontextmanager
async def unwatched(connection: Connection) -> AsyncIterator[None]:
    """Changes in this block are the test's own, and are not recorded as steps."""
    await connection.execute("set session_replication_role = replica")
    yield
    await connection.execute("set session_replication_role = origin")


async def named(connection: Connection, constraint: str) -> set[str]:
    """The values that a CHECK constraint lists."""
    expression = await connection.fetchval(
        "select pg_get_expr(conbin, conrelid) from pg_constraint where conname = $1 and conparentid = 0", constraint
    )
    return set(re.findall(r"'(\w+)'::text", expression))


# Deliveries


async def test_the_queue_can_hold_the_states_that_are_drawn_and_no_other(
    api: Api, sign_up: SignUp, connection: Connection
) -> None:
    """Sets the columns of the state in every way."""
    webhook = await make_webhook(Caller(api, await sign_up("worker")))
    await RelayLog(connection).event(webhook["id"])
    await connection.execute(QUEUE_STATE)
    choices: dict[str, tuple[Any, ...]] = {
        "leased_by": (None, new_id()),
        "lease_until": (None, datetime.now(UTC)),
        "fence": (None, 1),
        "attempts": (-1, 0, 1),
        "attempts_before": (-1, 0, 1),
        "next_attempt_at": (None, datetime.now(UTC)),
        "item_id": (None, new_id()),
        "sequence": (None, 0, 1),
    }
    taken = [
        await connection.fetchval("select state(d) from deliveries as d")
        async for _ in taken_by(connection, "deliveries", choices)
    ]
    # Each state counts with and without an item's order, and the two numbers of attempts may be
    # equal in two ways. The constraints refuse all else. Only a delivery in an order waits behind
    # others, and then it is not leased.
    assert {state: taken.count(state) for state in taken} == {
        "waiting": 2 * 2,
        "behind": 3,
        "retry": 2,
        "leased": 3 * 2,
    }
    assert set(taken) == QUEUED
    assert states(DELIVERY) == QUEUED | ENDS


async def test_a_delivery_can_end_in_the_ways_that_are_drawn_and_no_other(connection: Connection) -> None:
    assert await named(connection, "delivery_counts_status_check") == ENDS
    # A retry is not an end, and a superseded result is not a step.
    assert await named(connection, "attempts_outcome_check") == ENDS | {"retry", "superseded", "skipped"}


async def _place(connection: Connection, webhook_id: str, event: Event, state: str) -> None:
    """Put a waiting delivery into another state of the queue. Its lease belongs to a relay that is
    not listed, so it is void."""
    change = {
        "waiting": "next_attempt_at = now()",
        "retry": "attempts = 1",
        "leased": "leased_by = gen_random_uuid(), lease_until = now() + interval '1 hour', fence = nextval('fences')",
    }[state]
    await connection.execute(
        f"update deliveries set {change} where webhook_id = $1 and position = $2", UUID(webhook_id), event.position
    )


async def _in_order(owner: Caller, url: str, connection: Connection, pool: Pool) -> None:
    """Two items with two events each, the second behind the first. Those of one item expire and
    those of the other are discarded. Then all are put back."""
    webhook = await make_webhook(owner, url=url, events=["item-updated"], ordering="item")
    webhook_id = UUID(webhook["id"])
    expired, discarded = [(await owner.make("/items", name=name))["id"] for name in ("Pump", "Drill")]
    for item in (discarded, expired):
        for quantity in (7, 8):
            assert (await owner.put(f"/items/{item}", {"quantity": quantity})).status == 200
        await FanOut(pool).batch()
        keys = {"webhook_ids": [webhook_id], "item_ids": [UUID(item)]}
        events = [
            row["event_id"]
            for row in await connection.fetch(
                "select event_id from deliveries where webhook_id = $1 and item_id = $2 order by position",
                webhook_id,
                UUID(item),
            )
        ]
        assert len(events) == 2
        if item == expired:
            later = datetime.now(UTC) + timedelta(days=31)
            async with connection.transaction():
                # Expire steps over locked rows, so it takes only the rows with a sequence.
                await connection.execute("select 1 from deliveries where sequence is null for update")
                count = await load("retention").expire.fetchval(
                    pool, now=later, ttl_seconds=2_592_000, batch=10, only=None, **keys
                )
        else:
            await owner.put(f"/webhooks/{webhook_id}", {"active": True, "pending": "discard"})
            count = await load("retention").cancel_discarded.fetchval(connection, batch=10, only=None, **keys)
        assert count == 2
        async with connection.transaction():
            await (await Order.of(connection, [(webhook_id, UUID(item))])).promote()
        for event_id in events:
            answer = await owner.post(f"/webhooks/{webhook_id}/events/{event_id}/retry", None)
            assert answer.status == 200, answer.body


async def test_every_step_of_a_delivery_is_drawn_and_every_drawn_one_is_taken(
    api: Api, sign_up: SignUp, relays: Relays, receiver: Receiver, connection: Connection, pool: Pool
) -> None:
    async def answer(arrival: Arrival) -> web.StreamResponse:
        return web.Response(status=200 if arrival.path == "/takes" else 500)

    receiver.answer = answer
    owner, log = Caller(api, await sign_up("admin")), RelayLog(connection)
    takes = (await make_webhook(owner, url=f"{receiver.url}/takes"))["id"]
    for statement in WATCH:
        await connection.execute(statement)

    ended: list[Event] = []
    for how in ("expire", "discard"):
        placed = {state: await log.event(takes) for state in ("leased", "retry", "waiting")}
        async with unwatched(connection):
            for state, event in placed.items():
                await _place(connection, takes, event, state)
        if how == "expire":
            later = datetime.now(UTC) + timedelta(days=31)
            count = await load("retention").expire.fetchval(
                connection, now=later, ttl_seconds=2_592_000, batch=10, only=None, webhook_ids=[], item_ids=[]
            )
        else:
            await owner.put(f"/webhooks/{takes}", {"active": True, "pending": "discard"})
            count = await load("retention").cancel_discarded.fetchval(
                connection, batch=10, only=None, webhook_ids=[], item_ids=[]
            )
        assert count == len(placed)
        ended += placed.values()
    for event in ended:
        assert (await retry(owner, takes, event)).status == 200
    await _in_order(owner, f"{receiver.url}/takes", connection, pool)

    # From here on, relays take the steps: they send waiting deliveries, retries, and those that a
    # removed relay had leased.
    async with unwatched(connection):
        await _place(connection, takes, ended[0], "retry")
        await _place(connection, takes, ended[1], "leased")
    refuses = f"{receiver.url}/refuses"
    await make_webhook(owner, url=refuses, retryPolicy={"maxRetries": 1, "retryDelay": 100}, ordering="item")
    await make_webhook(owner, url=refuses, retryPolicy={"maxRetries": 0})
    await relays.start()
    await owner.make("/items", name="Pump")
    await receiver.wait_for(lambda: sum(arrival.path == "/refuses" for arrival in receiver.arrivals) == 3)
    await relays.idle()

    async def leased_in_fan_out() -> bool:
        # Not while the leader still has claims to make.
        await owner.make("/items", name="Pump")
        await relays.idle()
        return bool(await connection.fetchval("select exists (select from step where was = '[*]' and now = 'leased')"))

    await until(leased_in_fan_out, "the leader leases what it fans out")
    # Retry deliveries that succeeded and that failed, with and without an order.
    again = await connection.fetch(
        "select distinct on (outcome, sequence is null) webhook_id, event_id from attempts"
        " where retried_at is null and outcome in ('success', 'failed') order by outcome, sequence is null, position"
    )
    assert len(again) == 4
    for row in again:
        path = f"/webhooks/{row['webhook_id']}/events/{row['event_id']}/retry"
        assert (await owner.post(path, None)).status == 200
    await relays.idle()

    steps = await connection.fetch("select was, now from step order by seq")
    assert {(row["was"], row["now"]) for row in steps} == DELIVERY
