"""Fan-out: the webhooks that get an event, the rows that are set aside, and the order of the
log."""

import json
from uuid import UUID

import pytest

from relay.lead.fanout import FIRST_EVENTS, FanOut
from service.platform.clock import iso
from service.platform.db import Pool, open_pool
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.relay.fan_out import BOTH_WAYS, drain, queued
from tests.support.rows import NOWHERE, add_user, add_webhook, write_event

pytestmark = pytest.mark.usefixtures("either_way")


def item(**data: object) -> str:
    return json.dumps({"itemId": str(new_id()), "name": "Pump", **data})


@pytest.mark.parametrize("occurred_at", ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"])
async def test_events_may_be_as_old_and_as_new_as_can_be_said(
    occurred_at: str, connection: Connection, pool: Pool
) -> None:
    await connection.execute(
        f"insert into outbox (type, data, occurred_at) values ('item-created', '{{}}', '{occurred_at}')"
    )
    await drain(pool)
    assert iso(await connection.fetchval("select occurred_at from events")) == occurred_at


@pytest.mark.parametrize("routed", BOTH_WAYS)
async def test_filters_let_through_what_does_not_carry_what_they_filter_on(
    connection: Connection, settings: Settings, pool: Pool, routed: bool
) -> None:
    here, there, kind, other_kind = new_id(), new_id(), new_id(), new_id()
    types = ["item-created", "user-login", "transfer-approved"]
    any_ = await add_webhook(connection, settings, NOWHERE, types)
    at_here = await add_webhook(connection, settings, NOWHERE, types, locations=[here])
    of_kind = await add_webhook(connection, settings, NOWHERE, types, categories=[kind])
    both = await add_webhook(connection, settings, NOWHERE, types, locations=[here, there], categories=[kind])
    other_type = await add_webhook(connection, settings, NOWHERE, ["item-deleted"])
    owed: dict[UUID, set[UUID]] = {}

    async def event(event_type: str, data: str, *webhooks: UUID) -> None:
        owed[await write_event(connection, event_type, data, routed=routed)] = set(webhooks)

    await event(
        "item-created", item(location_id=str(here), category_id=str(kind)), any_.id, at_here.id, of_kind.id, both.id
    )
    await event("item-created", item(location_id=str(there), category_id=str(kind)), any_.id, of_kind.id, both.id)
    await event("item-created", item(location_id=str(here), category_id=str(other_kind)), any_.id, at_here.id)
    await event("item-created", item(location_id=None, category_id=str(other_kind)), any_.id, at_here.id)
    await event("user-login", json.dumps({"userId": str(new_id())}), any_.id, at_here.id, of_kind.id, both.id)
    await event(
        "transfer-approved",
        json.dumps({"fromLocation": str(there), "toLocation": str(here)}),
        any_.id,
        at_here.id,
        of_kind.id,
        both.id,
    )
    await event(
        "transfer-approved",
        json.dumps({"fromLocation": str(new_id()), "toLocation": str(there)}),
        any_.id,
        of_kind.id,
        both.id,
    )
    await drain(pool)
    found = await queued(connection)
    assert found == {(webhook_id, event_id) for event_id, webhooks in owed.items() for webhook_id in webhooks}
    assert other_type.id not in {webhook_id for webhook_id, _ in found}
    counted = {row["id"]: row["deliveries"] for row in await connection.fetch("select id, deliveries from events")}
    assert counted == {event_id: len(webhooks) for event_id, webhooks in owed.items()}


@pytest.mark.parametrize("routed", BOTH_WAYS)
async def test_a_threshold_speaks_of_low_stock_alerts_only(
    connection: Connection, settings: Settings, pool: Pool, routed: bool
) -> None:
    webhook = await add_webhook(connection, settings, NOWHERE, ["low-stock-alert", "item-created"], threshold=5)
    below = await write_event(connection, "low-stock-alert", item(currentStock=4), routed=routed)
    await write_event(connection, "low-stock-alert", item(currentStock=5), routed=routed)
    created = await write_event(connection, "item-created", item(quantity=9), routed=routed)
    await drain(pool)
    assert await queued(connection) == {(webhook.id, below), (webhook.id, created)}


@pytest.mark.parametrize("routed", BOTH_WAYS)
async def test_a_webhook_gets_only_what_its_owner_may_read(
    connection: Connection, settings: Settings, pool: Pool, routed: bool
) -> None:
    types = ["item-created", "transfer-approved", "item-checkout", "user-login", "location-created"]
    owners = {
        role: await add_user(connection, role) for role in ("admin", "supervisor", "foreman", "worker", "personnel")
    }
    webhooks = {
        (await add_webhook(connection, settings, NOWHERE, types, owner_id=owner)).id: role
        for role, owner in owners.items()
    }
    mine, other = [
        await connection.fetchval("insert into locations (name) values ($1) returning id", name)
        for name in ("Mine", "Other")
    ]
    await connection.execute("insert into location_foremen values ($1, $2)", mine, owners["foreman"])
    stranger = str(new_id())
    all_roles = set(owners)
    owed: dict[UUID, set[str]] = {}

    async def event(event_type: str, data: dict[str, object], *, at: UUID | None = None, to: set[str]) -> None:
        places = [at] if at else None
        owed[await write_event(connection, event_type, json.dumps(data), location_ids=places, routed=routed)] = to

    await event("item-created", {"location_id": str(mine)}, to=all_roles)
    await event("item-created", {"location_id": str(other)}, to=all_roles - {"foreman"})
    await event("item-created", {"location_id": None}, to=all_roles)
    await event("location-created", {"locationId": str(other)}, to=all_roles - {"foreman"})
    ends = {"fromLocation": str(other), "toLocation": str(mine)}
    await event("transfer-approved", {**ends, "requestedBy": stranger}, to={"admin", "supervisor", "foreman"})
    away = {"fromLocation": str(other), "toLocation": str(other)}
    await event(
        "transfer-approved", {**away, "requestedBy": str(owners["worker"])}, to={"admin", "supervisor", "worker"}
    )
    await event(
        "item-checkout", {"userId": str(owners["personnel"])}, at=other, to={"admin", "supervisor", "personnel"}
    )
    await event("item-checkout", {"userId": stranger}, at=mine, to={"admin", "supervisor", "foreman"})
    await event("user-login", {"userId": stranger}, to={"admin"})
    await event("user-login", {"userId": str(owners["foreman"])}, to={"admin", "foreman"})
    await drain(pool)
    found: dict[UUID, set[str]] = {event_id: set() for event_id in owed}
    for webhook_id, event_id in await queued(connection):
        found[event_id].add(webhooks[webhook_id])
    assert found == owed


async def test_positions_have_no_gap_and_follow_the_order_of_writing(connection: Connection, pool: Pool) -> None:
    first = [await write_event(connection) for _ in range(3)]
    await drain(pool)
    undo = connection.transaction()
    await undo.start()
    await write_event(connection)
    await undo.rollback()
    second = [await write_event(connection) for _ in range(3)]
    await drain(pool)
    log = await connection.fetch("select id, position from events order by position")
    assert [row["id"] for row in log] == first + second
    assert [row["position"] for row in log] == [1, 2, 3, 4, 5, 6]


async def test_what_the_service_wrote_and_what_psql_wrote_keep_their_order(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    webhook = await add_webhook(connection, settings, NOWHERE, ["item-created"])
    kinds = [True, False, False, True, None, True, None, False, True]
    written = [
        await write_event(connection, data='{"price":1.5}' if routed is None else '{ "n": 1 }', routed=bool(routed))
        for routed in kinds
    ]
    good = [event_id for event_id, routed in zip(written, kinds, strict=True) if routed is not None]
    batches = []
    fanout = FanOut(pool)
    while (batch := await fanout.batch()).taken:
        batches.append(batch)
    log = await connection.fetch("select id, position, data, audience from events order by position")
    assert [row["id"] for row in log] == good
    assert [row["position"] for row in log] == list(range(1, len(good) + 1))
    # Spaces are removed, whichever program wrote them.
    assert {(row["data"], row["audience"]) for row in log} == {('{"n":1}', "inventory")}
    assert [row["id"] for row in await connection.fetch("select id from set_aside order by seq")] == [
        event_id for event_id in written if event_id not in good
    ]
    assert await queued(connection) == {(webhook.id, event_id) for event_id in good}
    assert sum(batch.taken for batch in batches) == len(written)
    assert all(batch.full for batch in batches[:-1]), "each but the last says that there may be more"


async def test_an_end_between_saying_what_rows_are_about_and_moving_them_loses_nothing(
    connection: Connection, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await write_event(connection) for _ in range(3)]
    fanout = FanOut(pool)
    route = FanOut._route

    async def route_and_end(self: FanOut) -> int:
        if self._stuck:
            await route(self)
            raise ConnectionError("the relay ends here")
        return await route(self)

    monkeypatch.setattr(FanOut, "_route", route_and_end)
    with pytest.raises(ConnectionError):
        await fanout.batch()
    assert await connection.fetchval("select count(*) from outbox where audience = 'inventory'") == 3
    assert await connection.fetchval("select count(*) from events") == 0
    monkeypatch.setattr(FanOut, "_route", route)
    await drain(pool)
    assert [row["id"] for row in await connection.fetch("select id from events order by position")] == ids


async def test_who_looks_at_an_empty_outbox_writes_nothing(connection: Connection, pool: Pool) -> None:
    await write_event(connection)
    await drain(pool)
    before = await connection.fetchval("select ctid from log_head")
    assert (await FanOut(pool).batch()).taken == 0
    assert await connection.fetchval("select ctid from log_head") == before


async def test_two_leaders_at_once_fan_out_each_event_once(
    connection: Connection, settings: Settings, database_url: str
) -> None:
    import asyncio

    await add_webhook(connection, settings, NOWHERE, ["item-created"])
    await connection.execute(
        "insert into outbox (type, data) select 'item-created', '{}' from generate_series(1, 3000)"
    )
    one = await open_pool(database_url, application_name="one", size=1)
    two = await open_pool(database_url, application_name="two", size=1)
    try:
        await asyncio.gather(drain(one), drain(two), drain(one), drain(two))
    finally:
        await one.close()
        await two.close()
    assert await connection.fetchval("select count(*) from deliveries") == 3000
    assert await connection.fetchval("select array_agg(position order by position) from events") == list(range(1, 3001))


async def test_a_batch_is_as_large_as_what_it_leads_to_allows(
    connection: Connection, settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.lead.fanout.TARGET_DELIVERIES", 4)
    for _ in range(3):
        await add_webhook(connection, settings, NOWHERE, ["item-created"])
    fanout = FanOut(pool)
    for _ in range(2):
        await write_event(connection, routed=True)
    assert (await fanout.batch()).deliveries == 6
    assert fanout.limit == 1
    limits = []
    for _ in range(6):
        await write_event(connection, "item-deleted", routed=True)
        await fanout.batch()
        limits.append(fanout.limit)
    # Small batches say little about the speed of large ones, so they do not raise the limit
    # further.
    assert limits == [2, 4, 8, FIRST_EVENTS, FIRST_EVENTS, FIRST_EVENTS]
