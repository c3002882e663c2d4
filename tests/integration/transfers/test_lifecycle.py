"""Transfers over HTTP: their states, the events of each step, and each role's permissions."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.transfers.rules import EDGES
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import stored, take_events
from tests.support.api.transfer_yard import Yard
from tests.support.database import Connection

# The steps that lead a transfer into each state, and the steps that lead from one state to another.
ROADS: dict[str, tuple[str, ...]] = {
    "pending": (),
    "approved": ("approve",),
    "rejected": ("reject",),
    "in_transit": ("approve", "dispatch"),
    "completed": ("approve", "complete"),
    "cancelled": ("cancel",),
}
STEPS = {
    "approve": "approved",
    "reject": "rejected",
    "dispatch": "in_transit",
    "complete": "completed",
    "cancel": "cancelled",
}
Hire = Callable[[str], Awaitable[Caller]]


@pytest.fixture
def hire(api: Api, sign_up: SignUp) -> Hire:
    async def hire(role: str) -> Caller:
        return Caller(api, await sign_up(role))

    return hire


def _event(transfer: dict[str, Any], event_type: str, **more: Any) -> tuple[str, str]:
    data: dict[str, Any] = {
        "transferId": transfer["id"],
        "itemId": transfer["item_id"],
        "quantity": transfer["quantity"],
        "fromLocation": transfer["from_location_id"],
        "toLocation": transfer["to_location_id"],
        "requestedBy": transfer["requested_by"],
        "reason": transfer["reason"],
        "status": transfer["status"],
    }
    return stored(event_type, **data | more)


async def test_a_request_reserves_its_units_and_asks_for_approval(
    yard: Yard, hire: Hire, connection: Connection
) -> None:
    worker = await hire("worker")
    await take_events(connection)

    transfer = await yard.request(worker)

    assert transfer == {
        "id": transfer["id"],
        "item_id": yard.pump["id"],
        "from_location_id": yard.depot,
        "to_location_id": yard.site,
        "quantity": 4,
        "reason": "for the dig",
        "status": "pending",
        "requested_by": str(worker.token.user_id),
        **dict.fromkeys(
            f"{step}_{what}"
            for step in ("approved", "rejected", "dispatched", "completed", "cancelled")
            for what in ("by", "at")
        ),
        "rejection_reason": None,
        "to_item_id": None,
        "created_at": transfer["created_at"],
        "updated_at": transfer["created_at"],
    }
    assert (await yard.admin.get(f"/transfers/{transfer['id']}")).body == transfer
    assert await yard.units() == (10, 4)
    assert await take_events(connection) == [_event(transfer, "transfer-approval-needed")]


async def test_older_clients_name_the_fields_their_way(yard: Yard) -> None:
    transfer = await yard.admin.make(
        "/transfers", itemId=yard.pump["id"], fromLocation=yard.depot, toLocation=yard.site, quantity=1
    )
    assert (transfer["item_id"], transfer["from_location_id"], transfer["to_location_id"], transfer["reason"]) == (
        yard.pump["id"],
        yard.depot,
        yard.site,
        None,
    )


@pytest.mark.parametrize("state", EDGES)
async def test_a_transfer_goes_only_where_an_edge_leads(state: str, yard: Yard, connection: Connection) -> None:
    for step, target in STEPS.items():
        transfer = await yard.request(quantity=1)
        if ROADS[state]:
            assert (await yard.step(transfer, *ROADS[state])).body["status"] == state
        before, units = (await yard.admin.get(f"/transfers/{transfer['id']}")).body, await yard.units()
        await take_events(connection)

        answer = await yard.step(transfer, step)

        if target in EDGES[state]:
            assert (answer.status, answer.body["status"]) == (200, target)
        else:
            assert (answer.status, answer.body["detail"]) == (
                409,
                f"the transfer is {state}, and from there it cannot become {target}",
            )
            assert (await yard.admin.get(f"/transfers/{transfer['id']}")).body == before
            assert (await yard.units(), await take_events(connection)) == (units, [])


async def test_each_step_notes_who_took_it_and_tells_of_it(yard: Yard, hire: Hire, connection: Connection) -> None:
    worker, supervisor = await hire("worker"), await hire("supervisor")
    transfer = await yard.request(worker)
    await take_events(connection)

    approved = (await yard.step(transfer, "approve", by=supervisor)).body
    assert approved["approved_by"] == str(supervisor.token.user_id)
    assert approved["approved_at"] is not None
    assert await take_events(connection) == [
        _event(approved, "transfer-approved", approvedBy=str(supervisor.token.user_id))
    ]

    dispatched = (await yard.step(transfer, "dispatch", by=worker)).body
    assert dispatched == approved | {
        "status": "in_transit",
        "dispatched_by": str(worker.token.user_id),
        "dispatched_at": dispatched["dispatched_at"],
        "updated_at": dispatched["updated_at"],
    }
    assert await take_events(connection) == [_event(dispatched, "transfer-dispatched")]
    assert await yard.units() == (10, 4)

    cancelled = (await yard.step(transfer, "cancel", by=worker)).body
    assert (cancelled["status"], cancelled["cancelled_by"]) == ("cancelled", str(worker.token.user_id))
    assert await take_events(connection) == [_event(cancelled, "transfer-cancelled")]
    assert await yard.units() == (10, 0)

    records = await connection.fetch(
        "select action, actor_id, before->>'status' as before, after->>'status' as after, cardinality(event_ids) as events"
        "  from audit where entity = 'transfer' and entity_id = $1 order by at",
        transfer["id"],
    )
    assert [tuple(record) for record in records] == [
        ("request", worker.token.user_id, None, "pending", 1),
        ("approve", supervisor.token.user_id, "pending", "approved", 1),
        ("dispatch", worker.token.user_id, "approved", "in_transit", 1),
        ("cancel", worker.token.user_id, "in_transit", "cancelled", 1),
    ]


async def test_a_rejection_says_why_and_releases_the_units(yard: Yard, connection: Connection) -> None:
    transfer = await yard.request()
    await take_events(connection)

    rejected = (await yard.admin.post(f"/transfers/{transfer['id']}/reject", {"reason": "needed here"})).body

    assert (rejected["reason"], rejected["rejection_reason"]) == ("for the dig", "needed here")
    by = str(yard.admin.token.user_id)
    assert await take_events(connection) == [_event(rejected, "transfer-rejected", reason="needed here", rejectedBy=by)]
    assert await yard.units() == (10, 0)


@pytest.mark.parametrize("role", ["admin", "supervisor", "foreman", "worker", "personnel"])
async def test_roles_have_the_rights_of_the_matrix(role: str, yard: Yard, hire: Hire) -> None:
    caller = await hire(role)
    everything = role in {"admin", "supervisor"}
    others, own = await yard.request(quantity=1), await yard.request(quantity=1)
    if role == "foreman":
        assert (await caller.post("/transfers", yard.body(quantity=1))).status == 403
        # A foreman of the destination may read the transfers, and not request one.
        await yard.admin.post(f"/locations/{yard.site}/foremen", {"user_id": str(caller.token.user_id)})
        assert (await caller.post("/transfers", yard.body(quantity=1))).status == 403
        await yard.admin.post(f"/locations/{yard.depot}/foremen", {"user_id": str(caller.token.user_id)})
    own = await yard.request(caller, quantity=1)

    reads_all = everything or role == "foreman"
    assert (await caller.get(f"/transfers/{own['id']}")).status == 200
    assert (await caller.get(f"/transfers/{others['id']}")).status == (200 if reads_all else 403)
    listed = await caller.get("/transfers")
    assert (len(listed.body), listed.headers["X-Total-Count"]) == ((3, "3") if reads_all else (1, "1"))

    for step in ("reject", "approve"):
        for transfer in (others, own):
            allowed = 200 if step == "approve" else 409
            if step == "reject" and everything:
                continue
            answer = await yard.step(transfer, step, by=caller)
            assert answer.status == (allowed if everything else 403)
    if everything:
        spare = await yard.request(quantity=1)
        assert (await yard.step(spare, "reject", by=caller)).status == 200
    else:
        for transfer in (others, own):
            assert (await yard.step(transfer, "approve")).status == 200
    for step in ("dispatch", "complete", "cancel"):
        # A caller without permission gets 403, whatever the state is.
        assert (await yard.step(others, step, by=caller)).status == (
            403 if not everything else 409 if step == "cancel" else 200
        )
        assert (await yard.step(own, step, by=caller)).status == (409 if step == "cancel" else 200)


async def test_a_foreman_who_is_assigned_nowhere_reads_their_own(yard: Yard, hire: Hire) -> None:
    foreman = await hire("foreman")
    await yard.admin.post(f"/locations/{yard.depot}/foremen", {"user_id": str(foreman.token.user_id)})
    own, others = await yard.request(foreman, quantity=1), await yard.request(quantity=1)
    await yard.admin.delete(f"/locations/{yard.depot}/foremen/{foreman.token.user_id}")

    assert [found["id"] for found in (await foreman.get("/transfers")).body] == [own["id"]]
    assert (await foreman.get(f"/transfers/{own['id']}")).status == 200
    assert (await foreman.get(f"/transfers/{others['id']}")).status == 403


async def test_a_list_is_filtered_and_paged(yard: Yard) -> None:
    other = await yard.admin.make("/items", name="Drill", quantity=5, location_id=yard.site)
    pumps = [await yard.request(quantity=1) for _ in range(3)]
    back = await yard.request(item_id=other["id"], from_location_id=yard.site, to_location_id=yard.depot, quantity=1)
    await yard.step(pumps[1], "approve")

    async def ids(**query: str) -> list[str]:
        answer = await yard.admin.get("/transfers", **query)
        assert answer.status == 200, answer.body
        return [transfer["id"] for transfer in answer.body]

    everything = [transfer["id"] for transfer in [*pumps, back]]
    assert await ids() == everything
    assert await ids(status="approved") == [pumps[1]["id"]]
    assert await ids(item_id=other["id"]) == [back["id"]]
    assert await ids(location_id=yard.site) == everything
    assert await ids(location_id=yard.pump["id"]) == []
    assert await ids(status="pending", item_id=yard.pump["id"], location_id=yard.depot) == [
        pumps[0]["id"],
        pumps[2]["id"],
    ]
    page = await yard.admin.get("/transfers", skip="1", limit="2")
    assert [transfer["id"] for transfer in page.body] == everything[1:3]
    assert page.headers["X-Total-Count"] == "4"
    assert 'rel="next"' in page.headers["Link"]
