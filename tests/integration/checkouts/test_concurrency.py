"""Checkouts at the same moment: no unit is lent twice, and none comes back twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.api.caller import Api, SignUp
from tests.support.api.checkout_yard import Yard, open_yard
from tests.support.api.outbox import take_events
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit


@pytest.fixture
async def yard(api: Api, sign_up: SignUp, connection: Connection, database_url: str) -> AsyncIterator[Yard]:
    """A yard whose units must all be accounted for in the end."""
    yield await open_yard(api, sign_up, connection)
    assert await run_audit("stock_conservation", database_url) == []


async def test_of_checkouts_of_the_last_unit_one_wins(yard: Yard, connection: Connection) -> None:
    await yard.check_out(yard.admin, 9)
    await take_events(connection)

    answers = await asyncio.gather(*(yard.ask_out(yard.admin) for _ in range(6)))

    assert sorted(answer.status for answer in answers) == [201, 422, 422, 422, 422, 422]
    assert [event for event, _ in await take_events(connection)] == ["item-checkout", "item-updated"]


async def test_of_authorisations_of_the_last_units_one_wins(yard: Yard, connection: Connection) -> None:
    asked = [await yard.check_out(yard.worker, 6) for _ in range(3)]

    answers = await asyncio.gather(*(yard.act(yard.admin, one, "authorize") for one in asked))

    assert sorted(answer.status for answer in answers) == [200, 422, 422]
    assert (await yard.item())["quantity"] == 4


async def test_of_steps_that_exclude_each_other_one_is_taken(yard: Yard, connection: Connection) -> None:
    asked = await yard.check_out(yard.worker, 6)
    await take_events(connection)

    steps = ("authorize", "cancel", "reject", "authorize", "cancel", "reject")
    answers = await asyncio.gather(*(yard.act(yard.admin, asked, step) for step in steps))

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409, 409]
    assert len([event for event, _ in await take_events(connection) if "checkout" in event]) == 1


async def test_check_ins_at_once_return_what_was_out_and_no_more(yard: Yard, connection: Connection) -> None:
    out = await yard.check_out(yard.admin, 5)

    answers = await asyncio.gather(
        *(yard.act(yard.admin, out, "checkin", quantity=2) for _ in range(3)),
        *(yard.act(yard.admin, out, "checkin") for _ in range(3)),
    )

    assert {answer.status for answer in answers} <= {200, 409, 422}
    over = (await yard.admin.get(f"/checkouts/{out['id']}")).body
    assert (over["status"], over["returned_quantity"]) == ("returned", 5)
    assert sum(back["quantity"] for back in over["returns"]) == 5
    assert (await yard.item())["quantity"] == 10


async def test_returns_crosswise_between_two_locations_do_not_wait_for_each_other(
    yard: Yard, connection: Connection
) -> None:
    other = await yard.admin.make("/items", name="Pump", sku="HP-1", quantity=10, location_id=yard.site)
    here = await yard.check_out(yard.admin, 8)
    there = await yard.admin.make("/checkouts/checkout", item_id=other["id"], quantity=8)

    answers = await asyncio.gather(
        *(
            yard.act(yard.admin, checkout, "checkin", quantity=1, location_id=place)
            for _ in range(6)
            for checkout, place in ((here, yard.site), (there, yard.depot), (here, yard.depot), (there, yard.site))
        )
    )

    assert sorted({answer.status for answer in answers}) == [200, 409]
    assert {answer.body["detail"].split(":")[0] for answer in answers if answer.status == 409} == {
        "nothing of the checkout is out"
    }
    assert (await yard.item())["quantity"] + (await yard.item(other["id"]))["quantity"] == 20


async def test_an_item_that_first_comes_to_a_location_twice_at_once_is_made_there_once(
    yard: Yard, connection: Connection
) -> None:
    out = [await yard.check_out(yard.admin, 2) for _ in range(4)]

    answers = await asyncio.gather(*(yard.act(yard.admin, one, "checkin", location_id=yard.site) for one in out))

    assert {answer.status for answer in answers} == {200}
    (there,) = (await yard.admin.get("/items", location_id=yard.site)).body
    assert there["quantity"] == 8
