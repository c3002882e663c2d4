"""Refused transfers, and deletions that an open transfer prevents."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import take_events
from tests.support.api.transfer_yard import Yard
from tests.support.database import Connection, SomebodyWaits

NOBODY = str(uuid4())


async def test_a_bad_request_is_refused_with_what_is_wrong(yard: Yard, connection: Connection) -> None:
    requests: list[tuple[dict[str, Any], int, list[str]]] = [
        ({"quantity": 0}, 400, ["/quantity"]),
        ({"quantity": 1.5}, 400, ["/quantity"]),
        ({"quantity": "4.5"}, 400, ["/quantity"]),
        ({"item_id": "x", "reason": "\x00"}, 400, ["/item_id", "/reason"]),
        ({"reason": "x" * 8001}, 400, ["/reason"]),
        ({"item_id": NOBODY}, 400, ["/item_id"]),
        ({"to_location_id": NOBODY}, 400, ["/to_location_id"]),
        (
            {"item_id": NOBODY, "from_location_id": NOBODY, "to_location_id": NOBODY},
            400,
            ["/item_id", "/from_location_id", "/to_location_id"],
        ),
        ({"quantity": 11}, 422, ["/quantity"]),
        ({"to_location_id": yard.depot}, 422, ["/to_location_id"]),
        ({"from_location_id": yard.site, "to_location_id": yard.depot}, 422, ["/from_location_id"]),
    ]
    await take_events(connection)

    for fields, status, pointers in requests:
        answer = await yard.admin.post("/transfers", yard.body(**fields))
        assert (answer.status, answer.pointers) == (status, pointers), fields

    assert await yard.units() == (10, 0)
    assert await take_events(connection) == []
    missing = await yard.admin.post("/transfers", {})
    assert (missing.status, missing.pointers) == (
        400,
        ["/item_id", "/from_location_id", "/to_location_id", "/quantity"],
    )


async def test_what_has_no_location_or_is_out_of_use_is_not_transferred(yard: Yard) -> None:
    path = f"/items/{yard.pump['id']}"
    for state, pointer in (
        ({"status": "retired"}, "/item_id"),
        ({"status": "lost"}, "/item_id"),
        ({"location_id": None}, "/from_location_id"),
    ):
        assert (await yard.admin.put(path, state)).status == 200
        answer = await yard.admin.post("/transfers", yard.body())
        assert (answer.status, answer.pointers) == (422, [pointer])


async def test_reserved_units_are_not_promised_twice(yard: Yard) -> None:
    await yard.request(quantity=7)
    answer = await yard.admin.post("/transfers", yard.body(quantity=4))
    assert (answer.status, answer.body["detail"]) == (422, "3 units of Pump are not reserved, and 4 are asked for")
    assert (await yard.admin.put(f"/items/{yard.pump['id']}", {"quantity": 6})).status == 422


async def test_of_requests_at_once_only_as_many_succeed_as_there_are_units(yard: Yard) -> None:
    answers = await asyncio.gather(*(yard.admin.post("/transfers", yard.body(quantity=3)) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [201, 201, 201, 422, 422, 422]
    assert await yard.units() == (10, 9)


async def test_of_steps_at_once_one_is_taken(yard: Yard) -> None:
    transfer = await yard.request()
    steps = ("approve", "reject", "cancel")
    answers = await asyncio.gather(*(yard.step(transfer, step) for step in steps for _ in range(2)))
    # An approved transfer may still be cancelled.
    statuses = sorted(answer.status for answer in answers)
    assert statuses in ([200, 409, 409, 409, 409, 409], [200, 200, 409, 409, 409, 409])


async def test_an_item_with_an_open_transfer_cannot_be_deleted(yard: Yard) -> None:
    transfer = await yard.request(quantity=10)
    assert (await yard.admin.delete(f"/items/{yard.pump['id']}")).status == 409
    await yard.step(transfer, "cancel")
    assert (await yard.admin.delete(f"/items/{yard.pump['id']}")).status == 204
    assert (await yard.admin.get(f"/transfers/{transfer['id']}")).body["status"] == "cancelled"


async def test_a_location_of_an_open_transfer_cannot_be_deleted(yard: Yard) -> None:
    transfer = await yard.request()
    assert (await yard.admin.delete(f"/locations/{yard.site}")).status == 409
    await yard.step(transfer, "reject")
    assert (await yard.admin.delete(f"/locations/{yard.site}")).status == 204
    assert (await yard.admin.get(f"/transfers/{transfer['id']}")).body["to_location_id"] == yard.site


async def test_a_location_is_not_deleted_while_a_transfer_to_it_is_being_requested(yard: Yard) -> None:
    request, deletion = await asyncio.gather(
        yard.admin.post("/transfers", yard.body()), yard.admin.delete(f"/locations/{yard.site}")
    )
    assert (request.status, deletion.status) in {(201, 409), (400, 204)}


async def test_unknown_transfers_and_filters_are_refused(yard: Yard) -> None:
    assert (await yard.admin.get(f"/transfers/{NOBODY}")).status == 404
    assert (await yard.admin.get("/transfers/x")).status == 404
    for step in ("approve", "reject", "dispatch", "complete", "cancel"):
        assert (await yard.admin.post(f"/transfers/{NOBODY}/{step}", None)).status == 404
    assert (await yard.admin.get("/transfers", status="gone")).pointers == ["?status"]
    assert (await yard.admin.get("/transfers", item_id="x")).pointers == ["?item_id"]
    too_long = await yard.admin.post(f"/transfers/{NOBODY}/reject", {"reason": "x" * 8001})
    assert (too_long.status, too_long.pointers) == (400, ["/reason"])


async def test_the_table_itself_refuses_what_the_state_machine_does_not_have(
    yard: Yard, connection: Connection
) -> None:
    await yard.request()
    for damage in (
        "status = 'completed'",
        "status = 'in_transit', came_from = status",
        "status = 'approved', came_from = status",
        "status = 'cancelled', came_from = status, approved_at = now(), approved_by = id",
        "approved_at = now()",
        "status = 'gone', came_from = status",
        "quantity = 0",
        "to_location_id = from_location_id",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"update transfers set {damage}")


async def test_who_requested_a_transfer_stays_while_it_is_open(
    yard: Yard, api: Api, sign_up: SignUp, connection: Connection
) -> None:
    worker = Caller(api, await sign_up("worker"))
    user = f"/users/{worker.token.user_id}"
    transfer = await yard.request(worker)
    refused = await yard.admin.delete(user)
    assert (refused.status, "transfers" in refused.body["detail"]) == (409, True)
    assert (await yard.step(transfer, "approve")).status == 200
    assert (await yard.admin.delete(user)).status == 409
    assert (await yard.step(transfer, "complete", by=worker)).status == 200
    assert (await yard.admin.delete(user)).status == 204
    assert (await yard.admin.get(f"/transfers/{transfer['id']}")).body["requested_by"] == str(worker.token.user_id)


@pytest.mark.parametrize("kind", ["transfers", "checkouts/checkout"])
async def test_one_who_is_removed_at_the_same_moment_requests_nothing(
    yard: Yard, api: Api, sign_up: SignUp, connection: Connection, somebody_waits: SomebodyWaits, kind: str
) -> None:
    worker = Caller(api, await sign_up("worker"))
    async with connection.transaction():
        await connection.execute("delete from users where id = $1", worker.token.user_id)
        asking = asyncio.create_task(worker.post(f"/{kind}", yard.body()))
        await somebody_waits()
    assert (await asking).status == 401
    assert await yard.units() == (10, 0)
