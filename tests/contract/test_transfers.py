"""Contract, sections 1 and 4: transfers, their events, states and what they do to the stock."""

from typing import Any

import pytest

from tests.support.contract.client import UNKNOWN_ID, Client, unique
from tests.support.contract.ears import Listen

KEYS = ["transferId", "itemId", "quantity", "fromLocation", "toLocation", "requestedBy", "reason", "status"]
STATES = ("pending", "approved", "rejected", "cancelled", "in_transit", "completed")
EDGES = {
    ("pending", "approve"): "approved",
    ("pending", "reject"): "rejected",
    ("pending", "cancel"): "cancelled",
    ("approved", "dispatch"): "in_transit",
    ("approved", "complete"): "completed",
    ("approved", "cancel"): "cancelled",
    ("in_transit", "complete"): "completed",
    ("in_transit", "cancel"): "cancelled",
}
STEPS_TO = {
    "pending": [],
    "approved": ["approve"],
    "rejected": ["reject"],
    "cancelled": ["cancel"],
    "in_transit": ["approve", "dispatch"],
    "completed": ["approve", "complete"],
}
STEPS = ("approve", "reject", "dispatch", "complete", "cancel")


async def wanted(admin: Client, **fields: Any) -> dict[str, Any]:
    """The body of a request for 3 of 20 units."""
    here, there = await admin.location(), await admin.location()
    item = await admin.item(location_id=here, **fields)
    return {
        "item_id": item["id"],
        "from_location_id": here,
        "to_location_id": there,
        "quantity": 3,
        "reason": "Needed there",
    }


async def requested(admin: Client, status: str = "pending", **fields: Any) -> dict[str, Any]:
    transfer: dict[str, Any] = await admin.post("/transfers", await wanted(admin, **fields), status=201)
    for step in STEPS_TO[status]:
        transfer = await take(admin, transfer, step)
    return transfer


async def take(client: Client, transfer: dict[str, Any], step: str) -> dict[str, Any]:
    body = {"reason": "Not now"} if step == "reject" else None
    taken: dict[str, Any] = await client.post(f"/transfers/{transfer['id']}/{step}", body, status=200)
    return taken


async def quantities(client: Client, item_id: str) -> tuple[int, int]:
    item = await client.get(f"/items/{item_id}")
    return item["quantity"], item["reserved_quantity"]


# Section 1


async def test_transfer_approval_needed_when_requested(admin: Client, worker: Client, listen: Listen) -> None:
    """`transfer-approval-needed` | a transfer is requested | transferId, itemId, quantity,
    fromLocation, toLocation, …"""
    ears = await listen(admin, ["transfer-approval-needed"])
    body = await wanted(admin)
    transfer = await worker.post("/transfers", body, status=201)
    data = await ears.data("transfer-approval-needed", transferId=transfer["id"])
    assert list(data) == KEYS
    assert data == {
        "transferId": transfer["id"],
        "itemId": body["item_id"],
        "quantity": 3,
        "fromLocation": body["from_location_id"],
        "toLocation": body["to_location_id"],
        "requestedBy": worker.id,
        "reason": "Needed there",
        "status": "pending",
    }


async def test_transfer_approved_when_approved(admin: Client, supervisor: Client, listen: Listen) -> None:
    """`transfer-approved` | it is approved | the same, and approvedBy"""
    ears = await listen(admin, ["transfer-approved"])
    transfer = await requested(admin)
    await take(supervisor, transfer, "approve")
    data = await ears.data("transfer-approved", transferId=transfer["id"])
    assert list(data) == [*KEYS, "approvedBy"]
    assert (data["approvedBy"], data["status"], data["reason"]) == (supervisor.id, "approved", "Needed there")


async def test_transfer_rejected_when_rejected(admin: Client, supervisor: Client, listen: Listen) -> None:
    """`transfer-rejected` | it is rejected | the same, and rejectedBy, reason"""
    ears = await listen(admin, ["transfer-rejected"])
    transfer = await requested(admin)
    await take(supervisor, transfer, "reject")
    data = await ears.data("transfer-rejected", transferId=transfer["id"])
    assert list(data) == [*KEYS, "rejectedBy"]
    assert (data["rejectedBy"], data["status"], data["reason"]) == (supervisor.id, "rejected", "Not now")


@pytest.mark.parametrize(
    ("event", "status"),
    [("transfer-dispatched", "in_transit"), ("transfer-completed", "completed"), ("transfer-cancelled", "cancelled")],
)
async def test_the_other_steps_write_their_extended_types(
    admin: Client, listen: Listen, event: str, status: str
) -> None:
    """Every other transfer mutation writes an event of an extended type"""
    ears = await listen(admin, [event])
    transfer = await requested(admin, status)
    data = await ears.data(event, transferId=transfer["id"])
    assert data["status"] == status


async def test_a_completion_updates_the_item_and_creates_it_where_there_was_none(admin: Client, listen: Listen) -> None:
    """`item-created` | also by a completed transfer into a location that had none; `item-updated` |
    completed transfer"""
    ears = await listen(admin, ["item-created", "item-updated"])
    sku = unique("sku")
    transfer = await requested(admin, "completed", sku=sku)
    updated = await ears.data("item-updated", itemId=transfer["item_id"])
    assert updated["quantity"] == 17
    assert updated["changes"]["quantity"] == {"from": 20, "to": 17}
    created = await ears.data("item-created", location_id=transfer["to_location_id"])
    assert (created["sku"], created["quantity"]) == (sku, 3)
    assert created["itemId"] != transfer["item_id"]


async def test_a_completion_into_an_item_of_the_sku_updates_both(admin: Client, listen: Listen) -> None:
    """`item-updated` | completed transfer"""
    ears = await listen(admin, ["item-updated"])
    body = await wanted(admin, sku=unique("sku"))
    item = await admin.get(f"/items/{body['item_id']}")
    there = await admin.item(name="Another name", sku=item["sku"], quantity=1, location_id=body["to_location_id"])
    transfer = await admin.post("/transfers", body)
    await take(admin, transfer, "approve")
    await take(admin, transfer, "complete")
    assert (await ears.data("item-updated", itemId=there["id"]))["changes"]["quantity"] == {"from": 1, "to": 4}
    assert (await ears.data("item-updated", itemId=item["id"]))["changes"]["quantity"] == {"from": 20, "to": 17}


async def test_a_completion_that_leaves_too_little_alerts(admin: Client, listen: Listen) -> None:
    """`low-stock-alert` | a mutation changes an item's quantity and leaves quantity <
    min_quantity"""
    ears = await listen(admin, ["low-stock-alert"])
    transfer = await requested(admin, "completed", min_quantity=18)
    data = await ears.data("low-stock-alert", itemId=transfer["item_id"])
    assert (data["currentStock"], data["minStock"]) == (17, 18)


async def test_a_request_alone_alerts_nobody(admin: Client, listen: Listen) -> None:
    """`low-stock-alert` | changes quantity or minimum"""
    ears = await listen(admin, ["low-stock-alert", "item-updated"])
    transfer = await requested(admin, min_quantity=18)
    assert [event["eventType"] for event in await ears.events(itemId=transfer["item_id"])] == []


@pytest.mark.parametrize("end", ["fromLocation", "toLocation"])
async def test_a_location_filter_matches_either_location(admin: Client, listen: Listen, end: str) -> None:
    """Section 3: matches a transfer by either of its two locations."""
    body = await wanted(admin)
    place = body["from_location_id" if end == "fromLocation" else "to_location_id"]
    ears = await listen(admin, ["transfer-approval-needed"], filters={"locations": [place]})
    await requested(admin)
    transfer = await admin.post("/transfers", body)
    data = await ears.data("transfer-approval-needed", transferId=transfer["id"])
    assert data[end] == place
    assert len(ears.receiver.arrivals) == 1


@pytest.mark.parametrize("role", ["worker", "personnel"])
async def test_who_may_not_read_a_transfer_does_not_get_its_event(
    admin: Client, clients: dict[str, Client], listen: Listen, role: str
) -> None:
    """Who gets what: a webhook receives only what its owner may read"""
    owner = clients[role]
    ears = await listen(owner, ["transfer-approval-needed"])
    others = await requested(admin)
    own = await owner.post("/transfers", await wanted(admin), status=201)
    await ears.hear("transfer-approval-needed", transferId=own["id"])
    page = await owner.get(f"/webhooks/{ears.id}/events")
    assert others["id"] not in {event["data"]["transferId"] for event in page["events"]}


# Section 4


@pytest.mark.parametrize("status", STATES)
async def test_the_states_and_their_edges_and_no_others(admin: Client, status: str) -> None:
    """States: pending → approved | rejected | cancelled; approved → in_transit | completed |
    cancelled; in_transit → …"""
    for step in STEPS:
        transfer = await requested(admin, status)
        assert transfer["status"] == status
        answer = await admin.ask("POST", f"/transfers/{transfer['id']}/{step}", None)
        if (status, step) in EDGES:
            assert (answer.status, answer.body["status"]) == (200, EDGES[status, step])
        else:
            answer.problem(409)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending", (20, 3)),
        ("approved", (20, 3)),
        ("in_transit", (20, 3)),
        ("rejected", (20, 0)),
        ("cancelled", (20, 0)),
        ("completed", (17, 0)),
    ],
)
async def test_a_request_reserves_and_every_end_releases(admin: Client, status: str, expected: tuple[int, int]) -> None:
    """A request reserves its units; rejection and cancellation release them; completion moves
    them."""
    transfer = await requested(admin, status)
    assert await quantities(admin, transfer["item_id"]) == expected


async def test_what_is_reserved_cannot_be_taken(admin: Client) -> None:
    """reserved_quantity (read-only, ≤ quantity); 422 a rule of the domain forbids it"""
    body = await wanted(admin)
    (await admin.ask("POST", "/transfers", body | {"quantity": 21})).problem(422)
    await admin.post("/transfers", body | {"quantity": 18})
    (await admin.ask("POST", "/transfers", body)).problem(422)
    answer = await admin.ask("PUT", f"/items/{body['item_id']}", {"quantity": 17})
    assert answer.status in {409, 422}
    assert await quantities(admin, body["item_id"]) == (20, 18)


async def test_units_go_into_the_item_of_the_same_name_where_there_is_no_sku(admin: Client) -> None:
    """into the item of the same sku (else name) at the destination"""
    body = await wanted(admin)
    item = await admin.get(f"/items/{body['item_id']}")
    there = await admin.item(name=item["name"], quantity=0, location_id=body["to_location_id"])
    transfer = await admin.post("/transfers", body)
    await take(admin, transfer, "approve")
    await take(admin, transfer, "complete")
    assert await quantities(admin, there["id"]) == (3, 0)


async def test_an_item_with_an_open_transfer_cannot_be_deleted(admin: Client) -> None:
    """An item with open checkouts or transfers cannot be deleted (409)."""
    transfer = await requested(admin)
    (await admin.ask("DELETE", f"/items/{transfer['item_id']}")).problem(409)
    await take(admin, transfer, "cancel")
    await admin.delete(f"/items/{transfer['item_id']}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("item_id", UNKNOWN_ID),
        ("item_id", None),
        ("from_location_id", UNKNOWN_ID),
        ("to_location_id", "nonsense"),
        ("quantity", 0),
        ("quantity", 1.5),
        ("quantity", None),
    ],
)
async def test_a_bad_field_is_400_with_its_pointer(admin: Client, field: str, value: Any) -> None:
    """`POST {item_id, from_location_id, to_location_id, quantity, reason}`"""
    body = await wanted(admin)
    (await admin.ask("POST", "/transfers", body | {field: value})).problem(400, f"/{field}")


async def test_a_transfer_needs_two_locations_and_the_item_at_the_first(admin: Client) -> None:
    """422 a rule of the domain forbids it"""
    body = await wanted(admin)
    same = body | {"to_location_id": body["from_location_id"]}
    (await admin.ask("POST", "/transfers", same)).problem(422)
    turned = body | {"from_location_id": body["to_location_id"], "to_location_id": body["from_location_id"]}
    (await admin.ask("POST", "/transfers", turned)).problem(422)


async def test_transfers_are_listed_and_read(admin: Client, worker: Client) -> None:
    """`GET`, `GET :id`"""
    mine = await worker.post("/transfers", await wanted(admin), status=201)
    others = await requested(admin)
    answer = await worker.ask("GET", "/transfers?limit=200")
    assert int(answer.headers["X-Total-Count"]) == len(answer.body)
    assert mine in answer.body
    assert others["id"] not in {transfer["id"] for transfer in answer.body}
    assert await worker.get(f"/transfers/{mine['id']}") == mine
    (await admin.ask("GET", f"/transfers/{UNKNOWN_ID}")).problem(404)
    (await admin.ask("POST", f"/transfers/{UNKNOWN_ID}/approve")).problem(404)
