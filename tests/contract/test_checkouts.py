"""Contract, sections 1 and 4: checkouts, their events and what they do to the stock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.contract.client import UNKNOWN_ID, Client
from tests.support.contract.ears import Listen

KEYS = ["checkoutId", "itemId", "quantity", "userId", "status", "destinationLocation", "projectId", "requestedBy"]


async def out(client: Client, item: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The body of a request for 3 units of the item."""
    body = {"item_id": item["id"], "quantity": 3, **fields}
    checkout: dict[str, Any] = await client.post("/checkouts/checkout", body, status=201)
    return checkout


async def step(client: Client, checkout: dict[str, Any], name: str, body: Any = None) -> dict[str, Any]:
    taken: dict[str, Any] = await client.post(f"/checkouts/{checkout['id']}/{name}", body, status=200)
    return taken


async def quantity(client: Client, item: dict[str, Any]) -> int:
    return int((await client.get(f"/items/{item['id']}"))["quantity"])


async def test_item_checkout_when_requested_and_when_it_becomes_active(
    admin: Client, worker: Client, listen: Listen
) -> None:
    """`item-checkout` | a checkout is requested (`status` pending_authorization) or becomes active
    | checkoutId, …"""
    ears = await listen(admin, ["item-checkout"])
    item, place = await admin.item(), await admin.location()
    checkout = await out(worker, item, destination_location_id=place, project_id="P-7", notes="Careful")
    waiting = await ears.data("item-checkout", checkoutId=checkout["id"])
    assert list(waiting) == KEYS
    assert waiting == {
        "checkoutId": checkout["id"],
        "itemId": item["id"],
        "quantity": 3,
        "userId": worker.id,
        "status": "pending_authorization",
        "destinationLocation": place,
        "projectId": "P-7",
        "requestedBy": worker.id,
    }
    await step(admin, checkout, "authorize")
    active = await ears.data("item-checkout", checkoutId=checkout["id"], status="active")
    assert active == waiting | {"status": "active"}
    assert len(await ears.events(checkoutId=checkout["id"])) == 2


async def test_an_admins_checkout_is_active_at_once(admin: Client, listen: Listen) -> None:
    """An admin's checkout is active at once"""
    ears = await listen(admin, ["item-checkout"])
    item = await admin.item(quantity=20)
    checkout = await out(admin, item)
    assert checkout["status"] == "active"
    assert await quantity(admin, item) == 17
    (event,) = await ears.events(checkoutId=checkout["id"])
    assert event["data"]["status"] == "active"


@pytest.mark.parametrize("role", ["supervisor", "foreman", "worker"])
async def test_others_wait_for_authorisation_and_only_an_active_one_takes_units(
    admin: Client, clients: dict[str, Client], role: str
) -> None:
    """others wait for authorisation. Only an active one takes units off the stock."""
    item = await admin.item(quantity=20)
    checkout = await out(clients[role], item)
    assert checkout["status"] == "pending_authorization"
    assert await quantity(admin, item) == 20
    assert (await step(admin, checkout, "authorize"))["status"] == "active"
    assert await quantity(admin, item) == 17


async def test_item_updated_and_low_stock_alert_by_a_checkout(admin: Client, listen: Listen) -> None:
    """`item-updated` | an item changes: checkout; `low-stock-alert` | a mutation changes an item's
    quantity"""
    ears = await listen(admin, ["item-updated", "low-stock-alert"])
    item = await admin.item(quantity=20, min_quantity=18)
    await out(admin, item)
    updated = await ears.data("item-updated", itemId=item["id"])
    assert updated["changes"] == {"quantity": {"from": 20, "to": 17}}
    assert (await ears.data("low-stock-alert", itemId=item["id"]))["currentStock"] == 17


async def test_item_checkin_when_returned(admin: Client, worker: Client, supervisor: Client, listen: Listen) -> None:
    """`item-checkin` | a checkout is returned | checkoutId, itemId, quantity, userId, returnedBy,
    returnLocation"""
    ears = await listen(admin, ["item-checkin", "item-updated"])
    place = await admin.location()
    item = await admin.item(quantity=20, location_id=place)
    checkout = await out(worker, item)
    await step(admin, checkout, "authorize")
    assert (await step(supervisor, checkout, "checkin"))["status"] == "returned"
    data = await ears.data("item-checkin", checkoutId=checkout["id"])
    assert list(data) == ["checkoutId", "itemId", "quantity", "userId", "returnedBy", "returnLocation"]
    assert data == {
        "checkoutId": checkout["id"],
        "itemId": item["id"],
        "quantity": 3,
        "userId": worker.id,
        "returnedBy": supervisor.id,
        "returnLocation": place,
    }
    updated = await ears.data("item-updated", 2, itemId=item["id"])
    assert updated["changes"] == {"quantity": {"from": 17, "to": 20}}
    assert await quantity(admin, item) == 20


async def test_a_checkin_takes_a_part_and_another_location(admin: Client, listen: Listen) -> None:
    """`POST :id/checkin {quantity?, location_id?, notes?}`"""
    ears = await listen(admin, ["item-checkin"])
    here, there = await admin.location(), await admin.location()
    item = await admin.item(quantity=20, location_id=here)
    checkout = await out(admin, item)
    part = await step(admin, checkout, "checkin", {"quantity": 1, "notes": "One back"})
    assert part["status"] == "active"
    assert await quantity(admin, item) == 18
    (await admin.ask("POST", f"/checkouts/{checkout['id']}/checkin", {"quantity": 3})).problem(422)
    assert (await step(admin, checkout, "checkin", {"location_id": there}))["status"] == "returned"
    assert await quantity(admin, item) == 18
    assert [found["quantity"] for found in await admin.get(f"/items?location_id={there}")] == [2]
    events = await ears.events(checkoutId=checkout["id"])
    assert [(event["data"]["quantity"], event["data"]["returnLocation"]) for event in events] == [(1, here), (2, there)]


@pytest.mark.parametrize(
    ("name", "event", "status"),
    [("reject", "checkout-rejected", "rejected"), ("cancel", "checkout-cancelled", "cancelled")],
)
async def test_a_rejected_or_cancelled_checkout_takes_nothing(
    admin: Client, worker: Client, listen: Listen, name: str, event: str, status: str
) -> None:
    """`checkout-rejected`, `checkout-cancelled`; `POST :id/reject|cancel`"""
    ears = await listen(admin, [event])
    item = await admin.item(quantity=20)
    checkout = await out(worker, item)
    assert (await step(admin, checkout, name))["status"] == status
    assert (await ears.data(event, checkoutId=checkout["id"]))["status"] == status
    assert await quantity(admin, item) == 20
    for later in ("authorize", "reject", "cancel", "checkin"):
        (await admin.ask("POST", f"/checkouts/{checkout['id']}/{later}")).problem(409)


async def test_an_active_checkout_is_neither_authorised_rejected_nor_cancelled(admin: Client) -> None:
    """`POST :id/authorize|reject|cancel` (a checkout that waits)"""
    checkout = await out(admin, await admin.item())
    for name in ("authorize", "reject", "cancel"):
        (await admin.ask("POST", f"/checkouts/{checkout['id']}/{name}")).problem(409)


async def test_more_than_there_is_cannot_be_taken(admin: Client, worker: Client) -> None:
    """422 a rule of the domain forbids it"""
    item = await admin.item(quantity=2)
    (await admin.ask("POST", "/checkouts/checkout", {"item_id": item["id"], "quantity": 3})).problem(422)
    waiting = await out(worker, await admin.item(quantity=3))
    await admin.put(f"/items/{waiting['item_id']}", {"quantity": 2})
    (await admin.ask("POST", f"/checkouts/{waiting['id']}/authorize")).problem(422)


async def test_an_item_with_an_open_checkout_cannot_be_deleted(admin: Client, worker: Client) -> None:
    """An item with open checkouts or transfers cannot be deleted (409)."""
    for client in (admin, worker):
        item = await admin.item()
        checkout = await out(client, item)
        (await admin.ask("DELETE", f"/items/{item['id']}")).problem(409)
        await step(admin, checkout, "checkin" if client is admin else "cancel")
        await admin.delete(f"/items/{item['id']}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("item_id", UNKNOWN_ID),
        ("item_id", None),
        ("quantity", 0),
        ("quantity", "three"),
        ("expected_return_date", "soon"),
        ("destination_location_id", UNKNOWN_ID),
    ],
)
async def test_a_bad_field_is_400_with_its_pointer(admin: Client, field: str, value: Any) -> None:
    """`POST checkout {item_id, quantity, expected_return_date?, destination_location_id?,
    project_id?, notes?}`"""
    body = {"item_id": (await admin.item())["id"], "quantity": 1} | {field: value}
    (await admin.ask("POST", "/checkouts/checkout", body)).problem(400, f"/{field}")


async def test_checkouts_are_listed_and_read(admin: Client, worker: Client) -> None:
    """`GET`, `GET :id`; own"""
    item = await admin.item()
    mine, others = await out(worker, item), await out(admin, item)
    answer = await worker.ask("GET", "/checkouts?limit=200")
    assert int(answer.headers["X-Total-Count"]) == len(answer.body)
    assert mine in answer.body
    assert others["id"] not in {checkout["id"] for checkout in answer.body}
    assert await worker.get(f"/checkouts/{mine['id']}") == mine
    (await admin.ask("GET", f"/checkouts/{UNKNOWN_ID}")).problem(404)


async def test_overdue_is_derived(admin: Client) -> None:
    """overdue as a derived state"""
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
    late = await out(admin, await admin.item(), expected_return_date=yesterday)
    in_time = await out(admin, await admin.item(), expected_return_date="2199-01-31")
    overdue = {checkout["id"] for checkout in await admin.get("/checkouts?status=overdue&limit=200")}
    assert overdue == {checkout["id"] for checkout in await admin.get("/checkouts?overdue=true&limit=200")}
    assert late["id"] in overdue
    assert late["status"] == "active"
    assert in_time["id"] not in overdue


@pytest.mark.parametrize("role", ["worker", "personnel"])
async def test_who_may_not_read_a_checkout_does_not_get_its_event(
    admin: Client, clients: dict[str, Client], listen: Listen, role: str
) -> None:
    """Who gets what: a webhook receives only what its owner may read"""
    ears = await listen(clients[role], ["item-checkout", "item-created"])
    await out(admin, await admin.item())
    last = await admin.item()
    await ears.hear("item-created", itemId=last["id"])
    page = await clients[role].get(f"/webhooks/{ears.id}/events")
    assert {event["eventType"] for event in page["events"]} == {"item-created"}
