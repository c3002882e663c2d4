"""Checkouts over HTTP: from the request to the return of the last unit, and the events and rows of
each step."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from tests.support.api.caller import Caller
from tests.support.api.checkout_yard import Yard
from tests.support.api.outbox import stored, take_events
from tests.support.database import Connection
from tests.support.formats import TIME
from tests.support.postgres.audit_scripts import run_audit


def _out(event: str, yard: Yard, checkout: dict[str, Any], status: str) -> tuple[str, str]:
    return stored(
        event,
        checkoutId=checkout["id"],
        itemId=yard.pump["id"],
        quantity=checkout["quantity"],
        userId=checkout["user_id"],
        status=status,
        destinationLocation=checkout["destination_location_id"],
        projectId=checkout["project_id"],
        requestedBy=checkout["requested_by"],
    )


def _in(yard: Yard, checkout: dict[str, Any], quantity: int, by: Caller, place: str | None) -> tuple[str, str]:
    return stored(
        "item-checkin",
        checkoutId=checkout["id"],
        itemId=yard.pump["id"],
        quantity=quantity,
        userId=checkout["user_id"],
        returnedBy=str(by.token.user_id),
        returnLocation=place,
    )


async def _places(connection: Connection) -> list[list[str]]:
    rows = await connection.fetch("select location_ids from outbox where type ~ 'checkout|checkin' order by seq")
    return [[str(place) for place in row["location_ids"]] for row in rows]


async def test_a_request_waits_is_authorised_and_comes_back_in_parts(yard: Yard, connection: Connection) -> None:
    asked = await yard.check_out(
        yard.worker,
        4,
        expected_return_date="2999-12-31",
        destination_location_id=yard.site,
        project_id="Bridge ½",
        notes="for the “north” side",
    )
    me, boss = str(yard.worker.token.user_id), str(yard.admin.token.user_id)
    path = f"/checkouts/{asked['id']}"
    assert UUID(asked["id"]).version == 7
    assert TIME.fullmatch(asked["created_at"])
    assert asked == {
        "id": asked["id"],
        "item_id": yard.pump["id"],
        "user_id": me,
        "requested_by": me,
        "quantity": 4,
        "returned_quantity": 0,
        "status": "pending_authorization",
        "overdue": False,
        "expected_return_date": "2999-12-31",
        "destination_location_id": yard.site,
        "project_id": "Bridge ½",
        "notes": "for the “north” side",
        "authorized_by": None,
        "authorized_at": None,
        "rejected_by": None,
        "rejected_at": None,
        "cancelled_by": None,
        "cancelled_at": None,
        "returned_by": None,
        "returned_at": None,
        "returns": [],
        "created_at": asked["created_at"],
        "updated_at": asked["created_at"],
    }
    assert (await yard.worker.get(path)).body == asked
    assert (await yard.item())["quantity"] == 10
    assert await _places(connection) == [[yard.depot, yard.site]]
    assert await take_events(connection) == [_out("item-checkout", yard, asked, "pending_authorization")]

    active = await yard.act(yard.admin, asked, "authorize")
    assert active.status == 200
    assert (active.body["status"], active.body["authorized_by"]) == ("active", boss)
    assert TIME.fullmatch(active.body["authorized_at"])
    assert (await yard.item())["quantity"] == 6
    assert await _places(connection) == [[yard.depot, yard.site]]
    assert await take_events(connection) == [
        _out("item-checkout", yard, asked, "active"),
        yard.updated(6, quantity=(10, 6)),
    ]

    part = await yard.act(yard.worker, asked, "checkin", quantity=1, notes="one leaks")
    assert (part.status, part.body["status"], part.body["returned_quantity"]) == (200, "active", 1)
    assert await take_events(connection) == [
        _in(yard, asked, 1, yard.worker, yard.depot),
        yard.updated(7, quantity=(6, 7)),
    ]

    over = await yard.act(yard.people["supervisor"], asked, "checkin")
    assert (over.body["status"], over.body["returned_quantity"]) == ("returned", 4)
    assert over.body["returned_by"] == str(yard.people["supervisor"].token.user_id)
    assert [(back["quantity"], back["returned_by"], back["notes"]) for back in over.body["returns"]] == [
        (1, me, "one leaks"),
        (3, over.body["returned_by"], None),
    ]
    assert {(back["item_id"], back["location_id"]) for back in over.body["returns"]} == {(yard.pump["id"], yard.depot)}
    assert all(TIME.fullmatch(back["returned_at"]) for back in over.body["returns"])
    assert await take_events(connection) == [
        _in(yard, asked, 3, yard.people["supervisor"], yard.depot),
        yard.updated(10, quantity=(7, 10)),
    ]
    assert (await yard.worker.get(path)).body == over.body


async def test_an_admins_checkout_is_active_at_once(yard: Yard, connection: Connection) -> None:
    checkout = await yard.check_out(yard.admin, 2)

    assert (checkout["status"], checkout["authorized_by"]) == ("active", str(yard.admin.token.user_id))
    assert (await yard.item())["quantity"] == 8
    assert await take_events(connection) == [
        _out("item-checkout", yard, checkout, "active"),
        yard.updated(8, quantity=(10, 8)),
    ]


@pytest.mark.parametrize("role", ["supervisor", "foreman", "worker"])
async def test_everybody_else_waits_for_authorisation(yard: Yard, role: str) -> None:
    await yard.assign_foreman(yard.depot)
    assert (await yard.check_out(yard.people[role], 2))["status"] == "pending_authorization"
    assert (await yard.item())["quantity"] == 10


async def test_a_rejection_and_a_cancellation_touch_no_stock(yard: Yard, connection: Connection) -> None:
    for action, caller, status in (("reject", yard.admin, "rejected"), ("cancel", yard.worker, "cancelled")):
        asked = await yard.check_out(yard.worker, 2, destination_location_id=yard.site)
        await take_events(connection)

        answer = await yard.act(caller, asked, action)

        assert (answer.status, answer.body["status"]) == (200, status)
        assert answer.body[f"{status}_by"] == str(caller.token.user_id)
        assert TIME.fullmatch(answer.body[f"{status}_at"])
        assert await _places(connection) == [[yard.depot, yard.site]]
        assert await take_events(connection) == [_out(f"checkout-{status}", yard, asked, status)]
    assert await yard.item() == yard.pump


async def test_units_that_come_back_elsewhere_go_into_a_new_item_there_and_then_into_that(
    yard: Yard, connection: Connection
) -> None:
    checkout = await yard.check_out(yard.admin, 5)
    await take_events(connection)

    first = await yard.act(yard.admin, checkout, "checkin", quantity=2, location_id=yard.site)
    assert await _places(connection) == [[yard.depot, yard.site]]
    events = await take_events(connection)
    second = await yard.act(yard.admin, checkout, "checkin", quantity=3, location_id=yard.site)

    (at_site,) = (await yard.admin.get("/items", location_id=yard.site)).body
    common = {"itemId": at_site["id"], "name": "Pump", "sku": "HP-1"}
    place = {"location_id": yard.site, "category_id": None}
    assert events == [
        _in(yard, checkout, 2, yard.admin, yard.site),
        stored("item-created", **common, quantity=2, **place),
    ]
    assert await take_events(connection) == [
        _in(yard, checkout, 3, yard.admin, yard.site),
        stored("item-updated", **common, quantity=5, **place, changes={"quantity": {"from": 2, "to": 5}}),
    ]
    assert (at_site["quantity"], at_site["status"], at_site["reserved_quantity"]) == (5, "available", 0)
    assert (await yard.item())["quantity"] == 5
    assert first.body["returns"][0]["item_id"] == at_site["id"]
    assert {back["location_id"] for back in second.body["returns"]} == {yard.site}


async def test_an_item_with_a_serial_number_comes_back_where_its_unit_does(yard: Yard, connection: Connection) -> None:
    drill = await yard.admin.make("/items", name="Drill", serial_number="S-1", quantity=1, location_id=yard.depot)
    out = await yard.admin.make("/checkouts/checkout", item_id=drill["id"], quantity=1)
    await yard.admin.put(f"/items/{drill['id']}", {"sku": "D-1"})
    other = await yard.admin.make("/items", name="Other", sku="D-1", location_id=yard.site)
    refused = await yard.act(yard.admin, out, "checkin", location_id=yard.site)
    assert (refused.status, refused.pointers) == (409, ["/sku"])
    await yard.admin.delete(f"/items/{other['id']}")

    assert (await yard.act(yard.admin, out, "checkin", location_id=yard.site)).status == 200

    back = await yard.item(drill["id"])
    assert (back["location_id"], back["quantity"], back["status"]) == (yard.site, 1, "available")
    assert (await yard.admin.get("/items", location_id=yard.site)).body == [back]


async def test_every_unit_is_in_the_ledger_and_the_audit_finds_what_is_not(
    yard: Yard, connection: Connection, database_url: str
) -> None:
    checkout = await yard.check_out(yard.admin, 5)
    await yard.act(yard.admin, checkout, "checkin", quantity=1)
    await yard.act(yard.admin, checkout, "checkin", quantity=4, location_id=yard.site)

    moves = await connection.fetch(
        "select delta, reason from stock_moves where reference_id = $1 order by seq", checkout["id"]
    )
    assert [tuple(move) for move in moves] == [(-5, "checkout"), (1, "checkin"), (4, "checkin")]
    assert await run_audit("stock_conservation", database_url) == []
    for damage, problem in (
        ("delete from checkout_returns where quantity = 4", "the parts of a checkout do not add up"),
        (
            "update stock_moves set delta = -6 where reason = 'checkout'",
            "what a checkout has out differs from the ledger",
        ),
        ("delete from checkouts", "an entry names a checkout that does not exist"),
    ):
        await connection.execute(damage)
        assert problem in {row.split("|")[0] for row in await run_audit("stock_conservation", database_url)}, damage


async def test_every_step_is_audited_with_what_was_before_and_after(yard: Yard, connection: Connection) -> None:
    steps = []
    asked = await yard.check_out(yard.worker, 2)
    steps.append(asked)
    steps.append((await yard.act(yard.admin, asked, "authorize")).body)
    steps.append((await yard.act(yard.admin, asked, "checkin")).body)
    for action in ("reject", "cancel"):
        other = await yard.check_out(yard.worker)
        steps += [other, (await yard.act(yard.admin, other, action)).body]

    rows = await connection.fetch("select * from audit where entity = 'checkout' order by at")
    assert [row["action"] for row in rows] == [
        "checkout",
        "authorize",
        "checkin",
        "checkout",
        "reject",
        "checkout",
        "cancel",
    ]
    assert [orjson.loads(row["after"]) for row in rows] == steps
    assert [row["before"] and orjson.loads(row["before"]) for row in rows] == [
        None, steps[0], steps[1], None, steps[3], None, steps[5],
    ]  # fmt: skip
    assert [len(row["event_ids"]) for row in rows] == [1, 2, 2, 1, 1, 1, 1]
    assert rows[1]["actor_id"] == yard.admin.token.user_id


async def test_overdue_is_active_and_past_its_day(yard: Yard) -> None:
    today = datetime.now(UTC).date()
    yesterday, tomorrow = str(today - timedelta(days=1)), str(today + timedelta(days=1))
    late = await yard.check_out(yard.admin, expected_return_date=yesterday)
    await yard.check_out(yard.admin, expected_return_date=tomorrow)
    await yard.check_out(yard.admin)
    await yard.check_out(yard.worker, expected_return_date=yesterday)

    assert (late["status"], late["overdue"]) == ("active", True)
    found = await yard.admin.get("/checkouts", status="overdue")
    assert found.body == [late]
    assert found.headers["X-Total-Count"] == "1"
    assert [one["overdue"] for one in (await yard.admin.get("/checkouts")).body] == [True, False, False, False]
    back = await yard.act(yard.admin, late, "checkin")
    assert back.body["overdue"] is False
    assert (await yard.admin.get("/checkouts", status="overdue")).body == []


@pytest.mark.parametrize(
    ("sent", "day"),
    [
        ("2996-03-01", "2996-03-01"),
        ("2996-03-01T23:30:00.000Z", "2996-03-01"),
        ("2996-03-01T23:30:00-02:00", "2996-03-02"),
    ],
)
async def test_the_day_of_return_may_come_as_a_moment(yard: Yard, sent: str, day: str) -> None:
    assert (await yard.check_out(yard.worker, expected_return_date=sent))["expected_return_date"] == day


async def test_a_list_is_filtered_and_paged(yard: Yard) -> None:
    drill = await yard.admin.make("/items", name="Drill", quantity=5)
    one = await yard.check_out(yard.worker)
    two = await yard.check_out(yard.people["supervisor"])
    three = await yard.admin.make("/checkouts/checkout", item_id=drill["id"], quantity=1)
    one = (await yard.act(yard.admin, one, "cancel")).body
    worker = str(yard.worker.token.user_id)

    for query, expected in (
        ({}, [one, two, three]),
        ({"status": "cancelled"}, [one]),
        ({"status": "pending_authorization"}, [two]),
        ({"status": "active", "item_id": ""}, [three]),
        ({"status": "returned"}, []),
        ({"item_id": drill["id"]}, [three]),
        ({"item_id": yard.pump["id"]}, [one, two]),
        ({"user_id": worker}, [one]),
        ({"user_id": worker, "status": "active"}, []),
    ):
        answer = await yard.admin.get("/checkouts", **query)
        assert (answer.status, answer.body) == (200, expected), query
        assert answer.headers["X-Total-Count"] == str(len(expected))
    page = await yard.admin.get("/checkouts", skip="1", limit="1")
    assert page.body == [two]
    assert (page.headers["X-Total-Count"], page.headers["Link"].count("rel=")) == ("3", 4)
