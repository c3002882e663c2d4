"""The item's status follows its units: checked out with the last of them, and available when some
are back."""

import orjson

from tests.support.api.checkout_yard import Yard
from tests.support.api.outbox import take_events
from tests.support.database import Connection


async def test_the_status_of_the_item_follows_its_last_unit(yard: Yard, connection: Connection) -> None:
    await yard.admin.put(f"/items/{yard.pump['id']}", {"min_quantity": 3})
    await yard.check_out(yard.admin, 1)
    await take_events(connection)

    last = await yard.check_out(yard.admin, 9)

    events = await take_events(connection)
    assert events[1] == yard.updated(0, quantity=(9, 0), status=("available", "checked_out"))
    assert [event for event, _ in events] == ["item-checkout", "item-updated", "low-stock-alert"]
    assert orjson.loads(events[2][1])["currentStock"] == 0

    await yard.act(yard.admin, last, "checkin", quantity=2)

    events = await take_events(connection)
    assert events[1] == yard.updated(2, quantity=(0, 2), status=("checked_out", "available"))
    assert [event for event, _ in events] == ["item-checkin", "item-updated", "low-stock-alert"]


async def test_an_item_whose_last_units_came_back_elsewhere_is_not_checked_out_any_more(
    yard: Yard, connection: Connection
) -> None:
    one, other = await yard.check_out(yard.admin, 4), await yard.check_out(yard.admin, 6)
    assert (await yard.item())["status"] == "checked_out"
    await yard.act(yard.admin, one, "checkin", location_id=yard.site)
    assert (await yard.item())["status"] == "checked_out"
    await take_events(connection)

    await yard.act(yard.admin, other, "checkin", location_id=yard.site)

    events = await take_events(connection)
    assert events[-1] == yard.updated(0, status=("checked_out", "available"))
    item = await yard.item()
    assert (item["status"], item["quantity"]) == ("available", 0)


async def test_a_check_in_leaves_an_item_in_maintenance_there(yard: Yard) -> None:
    checkout = await yard.check_out(yard.admin, 10)
    await yard.admin.put(f"/items/{yard.pump['id']}", {"status": "maintenance"})

    assert (await yard.act(yard.admin, checkout, "checkin")).status == 200

    item = await yard.item()
    assert (item["status"], item["quantity"]) == ("maintenance", 10)
