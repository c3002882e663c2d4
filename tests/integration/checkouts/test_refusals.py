"""Refused requests about checkouts, which leave no trace."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.support.api.checkout_yard import Yard
from tests.support.api.outbox import take_events
from tests.support.database import Connection

ACTIONS = ("authorize", "reject", "cancel", "checkin")


async def test_bad_fields_are_all_named(yard: Yard, connection: Connection) -> None:
    fine = {"item_id": yard.pump["id"], "quantity": 1}
    for body, pointers in (
        ({}, ["/item_id", "/quantity"]),
        ({**fine, "quantity": 0}, ["/quantity"]),
        ({**fine, "quantity": "one"}, ["/quantity"]),
        ({**fine, "quantity": 2**31}, ["/quantity"]),
        ({**fine, "expected_return_date": "soon"}, ["/expected_return_date"]),
        ({**fine, "expected_return_date": "2026-02-30"}, ["/expected_return_date"]),
        ({**fine, "expected_return_date": "2026-03-01T25:00:00Z"}, ["/expected_return_date"]),
        ({**fine, "expected_return_date": "0001-01-01T00:00:00+01:00"}, ["/expected_return_date"]),
        ({**fine, "expected_return_date": 1772323200}, ["/expected_return_date"]),
        ({**fine, "project_id": "", "notes": "x" * 8001}, ["/project_id", "/notes"]),
        ({**fine, "project_id": "x" * 256}, ["/project_id"]),
        ({**fine, "project_id": "a\0b", "notes": "\0"}, ["/project_id", "/notes"]),
        ({"item_id": "pump", "quantity": 1, "destination_location_id": "there"}, ["/item_id", "/destination_location_id"]),
        ({**fine, "item_id": str(uuid4())}, ["/item_id"]),
        ({**fine, "destination_location_id": str(uuid4())}, ["/destination_location_id"]),
    ):  # fmt: skip
        answer = await yard.admin.post("/checkouts/checkout", body)
        assert (answer.status, answer.pointers) == (400, pointers), body

    out = await yard.check_out(yard.admin, 5)
    await take_events(connection)
    for body, pointers in (
        ({"quantity": 0}, ["/quantity"]),
        ({"quantity": 1.5, "notes": 1}, ["/quantity", "/notes"]),
        ({"location_id": "there"}, ["/location_id"]),
        ({"location_id": str(uuid4())}, ["/location_id"]),
    ):
        answer = await yard.act(yard.admin, out, "checkin", **body)
        assert (answer.status, answer.pointers) == (400, pointers), body
    for query in ({"status": "out"}, {"item_id": "pump"}, {"user_id": "me"}, {"limit": "0"}):
        assert (await yard.admin.get("/checkouts", **query)).status == 400, query

    assert (await yard.admin.get("/checkouts")).body == [out]
    assert (await yard.item())["quantity"] == 5
    assert await take_events(connection) == []


async def test_only_units_that_nobody_has_reserved_can_be_taken(yard: Yard, connection: Connection) -> None:
    await connection.execute("update items set reserved_quantity = 4")
    for caller in (yard.admin, yard.worker):
        answer = await yard.ask_out(caller, 7)
        assert (answer.status, answer.pointers) == (422, ["/quantity"])
    assert await take_events(connection) == []

    asked = await yard.check_out(yard.worker, 6)
    await yard.check_out(yard.admin, 1)
    await take_events(connection)
    assert (await yard.act(yard.admin, asked, "authorize")).status == 422
    assert (await yard.admin.get(f"/checkouts/{asked['id']}")).body == asked
    assert (await yard.item())["quantity"] == 9
    assert await take_events(connection) == []

    await connection.execute("update items set reserved_quantity = 3")
    assert (await yard.act(yard.admin, asked, "authorize")).status == 200
    assert (await yard.item())["quantity"] == 3


async def test_an_item_that_is_not_in_use_cannot_be_checked_out(yard: Yard, connection: Connection) -> None:
    asked = await yard.check_out(yard.worker)
    for status in ("maintenance", "retired", "lost"):
        await yard.admin.put(f"/items/{yard.pump['id']}", {"status": status})
        await take_events(connection)
        for answer in (
            await yard.ask_out(yard.admin),
            await yard.ask_out(yard.worker),
            await yard.act(yard.admin, asked, "authorize"),
        ):
            assert (answer.status, answer.pointers) == (422, ["/item_id"]), status
    assert await take_events(connection) == []


async def test_no_more_comes_back_than_is_out(yard: Yard, connection: Connection) -> None:
    out = await yard.check_out(yard.admin, 5)
    await yard.act(yard.admin, out, "checkin", quantity=2)
    await take_events(connection)

    answer = await yard.act(yard.admin, out, "checkin", quantity=4)

    assert (answer.status, answer.pointers) == (422, ["/quantity"])
    assert (await yard.item())["quantity"] == 7
    assert await take_events(connection) == []
    assert (await yard.act(yard.admin, out, "checkin", quantity=3)).body["status"] == "returned"


async def test_each_step_starts_from_its_state_only(yard: Yard, connection: Connection) -> None:
    async def in_state(*actions: str) -> dict[str, Any]:
        checkout = await yard.check_out(yard.worker)
        for action in actions:
            checkout = (await yard.act(yard.admin, checkout, action)).body
        return checkout

    states = [
        (await in_state("authorize"), {"checkin"}),
        (await in_state("authorize", "checkin"), set()),
        (await in_state("reject"), set()),
        (await in_state("cancel"), set()),
        (await in_state(), {"authorize", "reject", "cancel"}),
    ]
    assert [checkout["status"] for checkout, _ in states] == [
        "active", "returned", "rejected", "cancelled", "pending_authorization",
    ]  # fmt: skip
    await take_events(connection)
    for checkout, possible in states:
        for action in ACTIONS:
            if action not in possible:
                answer = await yard.act(yard.admin, checkout, action)
                assert answer.status == 409, (checkout["status"], action)
                assert checkout["status"] in answer.body["detail"]
    assert (await yard.admin.get("/checkouts", skip="4")).body == [states[4][0]]
    assert await take_events(connection) == []


async def test_what_an_open_checkout_needs_stays_and_what_has_ended_outlives_it(
    yard: Yard, connection: Connection
) -> None:
    place = (await yard.admin.make("/locations", name="Bridge"))["id"]
    asked = await yard.check_out(yard.worker, 10, destination_location_id=place)
    for step in (None, "authorize"):
        if step:
            await yard.act(yard.admin, asked, step)
        await take_events(connection)
        assert (await yard.admin.delete(f"/items/{yard.pump['id']}")).status == 409
        assert (await yard.admin.delete(f"/locations/{place}")).status == 409
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute("delete from users where id = $1", yard.worker.token.user_id)
        assert await take_events(connection) == []

    over = (await yard.act(yard.admin, asked, "checkin")).body

    assert (await yard.admin.delete(f"/items/{yard.pump['id']}")).status == 204
    assert (await yard.admin.delete(f"/locations/{place}")).status == 204
    assert (await yard.worker.get(f"/checkouts/{asked['id']}")).body == over
    assert (await yard.worker.get("/checkouts")).body == [over]
    assert (await yard.act(yard.admin, asked, "checkin")).status == 409


async def test_units_come_back_only_into_an_item_that_can_take_them(yard: Yard, connection: Connection) -> None:
    out = await yard.check_out(yard.admin, 5)
    full = await yard.admin.put(f"/items/{yard.pump['id']}", {"quantity": 2**31 - 5})
    there = await yard.admin.make("/items", name="Pump", sku="HP-1", location_id=yard.site, quantity=2**31 - 1)
    await take_events(connection)

    answer = await yard.act(yard.admin, out, "checkin")
    assert (full.status, answer.status, answer.pointers) == (200, 422, ["/quantity"])
    for change in ({}, {"quantity": 1, "serial_number": "S-1"}, {"serial_number": None, "status": "retired"}):
        assert (await yard.admin.put(f"/items/{there['id']}", change)).status == 200
        await take_events(connection)
        answer = await yard.act(yard.admin, out, "checkin", location_id=yard.site)
        assert answer.status == 409, change
    assert await take_events(connection) == []
    assert (await yard.act(yard.admin, out, "checkin", quantity=4)).status == 200


@pytest.mark.parametrize("checkout_id", ["checkout", pytest.param(str(uuid4()), id="unknown")])
async def test_an_unknown_checkout_is_not_found(yard: Yard, checkout_id: str) -> None:
    assert (await yard.admin.get(f"/checkouts/{checkout_id}")).status == 404
    for action in ACTIONS:
        assert (await yard.act(yard.admin, {"id": checkout_id}, action)).status == 404
