"""Few events are fanned out one by one, many as a batch. The result is the same."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from relay.claim.slots import Offer
from relay.lead.batch import NEVER, Batch
from relay.lead.fanout import FanOut
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import Connection, SomebodyWaits
from tests.support.relay.sending import register
from tests.support.rows import NOWHERE, add_user, add_webhook, write_event

TYPES = ["item-created", "low-stock-alert", "transfer-approved", "item-checkout", "user-login", "category-created"]
ROLES = ["admin", "admin", "supervisor", "foreman", "worker"]
LANES = [
    "update receiver_health set failures = 10, failing_since = now(), opened_at = now(), probe_at = now() where webhook_id = $1",
    "update receiver_health set pauses = 1, paused_until = now() where webhook_id = $1",
    "update webhooks set rate_per_second = 100, rate_burst = 100 where id = $1",
    "update webhooks set active = false where id = $1",
    "update webhooks set deleted_at = now(), active = false where id = $1",
    "update webhooks set min_stock_threshold = 5 where id = $1",
    "update webhooks set ordering = 'item', on_failure = 'block' where id = $1",
]
EVENTS = "select position, id, seq, type, data, audience, item_id, deliveries from events order by position"
DELIVERIES = """
select webhook_id, position, event_id, event_type, next_attempt_at = now() as due, leased_by, fence is null as idle,
       item_id, sequence, attempts
  from deliveries order by position, webhook_id
"""


# The greatest number of events that go one by one: three, or none.
WAYS = (3, 0)
# Rolled back with the transaction.
REFUSE_BATCHES = "alter function fan_out_many rename to not_here"


async def settle(
    connection: Connection, settings: Settings, chance: random.Random, places: Sequence[UUID], kinds: Sequence[UUID]
) -> list[UUID]:
    """Webhooks of all kinds."""
    owners = []
    for role in ROLES:
        owners.append(await add_user(connection, role, chance.choice(["active"] * 4 + ["suspended"])))
        if role == "foreman":
            await connection.execute("insert into location_foremen values ($1, $2)", places[0], owners[-1])
    webhooks = []
    for _ in range(chance.randrange(1, 15)):
        webhook = await add_webhook(
            connection,
            settings,
            NOWHERE,
            chance.sample(TYPES, chance.randrange(3, len(TYPES))),
            owner_id=chance.choice(owners),
            locations=chance.sample(places, chance.randrange(3)),
        )
        filters = chance.sample(kinds, chance.randrange(3))
        await connection.execute("update webhooks set filter_categories = $2 where id = $1", webhook.id, filters)
        if chance.random() < 0.4:
            await connection.execute(chance.choice(LANES), webhook.id)
        webhooks.append(webhook.id)
    # At most as many as go one by one.
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        data: dict[str, Any] = {
            "itemId": str(new_id()),
            "location_id": chance.choice([None, *map(str, places)]),
            "category_id": chance.choice([None, *map(str, kinds)]),
            "currentStock": chance.randrange(10),
            "userId": str(chance.choice(owners)),
        }
        await write_event(connection, chance.choice(TYPES), json.dumps(data), routed=True)
    return webhooks


def plain(batch: Batch) -> dict[str, Any]:
    """The parts of a batch that come from no sequence and no clock, sorted."""
    return {
        "counts": (batch.taken, batch.events, batch.deliveries, batch.full, batch.wakes, batch.state),
        "lanes": sorted(batch.lanes),
        "leases": sorted(lease._replace(fence=0, event_at=NEVER.now) for lease in batch.leases),
        "versions": sorted(batch.versions),
    }


@pytest.mark.parametrize("seed", range(40))
async def test_what_becomes_of_events_is_the_same(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    places, kinds = [
        [
            await connection.fetchval(f"insert into {table} (name) values ($1) returning id", f"{table} {number}")
            for number in range(3)
        ]
        for table in ("locations", "categories")
    ]
    webhooks = await settle(connection, settings, chance, places, kinds)
    relay_id = await register(connection)
    crowded = tuple(chance.sample(webhooks, chance.randrange(1 + len(webhooks) // 3)))
    # If only some deliveries of an event can be leased, it is not defined which. So all are, or
    # none.
    offer = Offer(relay_id, chance.choice([0, 100, 100, 100]), 10, crowded)
    if chance.random() < 0.2:
        offer = Offer(new_id(), 100, 10, crowded)
    if chance.random() < 0.2:
        await connection.execute("insert into lane_wakes values ($1)", webhooks[0])
    seen = []
    for few in WAYS:
        monkeypatch.setattr("relay.lead.fanout.FEW_EVENTS", few)
        transaction = connection.transaction()
        await transaction.start()
        if few:
            await connection.execute(REFUSE_BATCHES)
        batch = await FanOut(connection).batch(lambda: offer)
        seen.append([plain(batch), await connection.fetch(EVENTS), await connection.fetch(DELIVERIES)])
        await transaction.rollback()
    assert seen[0] == seen[1]


async def test_a_webhook_that_asks_for_order_while_its_event_goes_gets_it(
    connection: Connection, settings: Settings, pool: Pool, somebody_waits: SomebodyWaits
) -> None:
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    await write_event(connection, data=json.dumps({"itemId": str(new_id())}), routed=True)
    async with connection.transaction():
        await connection.execute("select from log_head for update")
        batch = asyncio.create_task(FanOut(pool).batch())
        await somebody_waits()
        await pool.execute("update webhooks set ordering = 'item', on_failure = 'block' where id = $1", webhook.id)
    assert (await batch).deliveries == 1
    assert await connection.fetchval("select array_agg(sequence) from deliveries") == [1]
    assert await connection.fetchval("select position from log_head") == 1
