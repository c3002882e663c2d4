"""The rules of items, locations and categories, without a database."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from pydantic import ValidationError

from service.events.changes import diff
from service.inventory import rules
from service.inventory.models import MAX_ATTRIBUTES_BYTES, Foremen, ItemCreate, ItemMove, ItemUpdate
from service.platform.errors import BadRequest, Conflict, Unprocessable
from service.stock.item import Item, check_quantities, low_stock, updated_events

NOW = datetime(2026, 2, 18, 12, 0, 0, 123456, tzinfo=UTC)
ITEM = Item(
    id=UUID("01985b6e-0000-7000-8000-000000000001"),
    name="Hydraulic Pump",
    sku="HP-1",
    serial_number=None,
    description=None,
    quantity=10,
    reserved_quantity=2,
    min_quantity=5,
    condition="good",
    status="available",
    purchase_date=date(2024, 1, 31),
    category_id=None,
    location_id=None,
    attributes='{"b":1,"a":[1.5]}',
    created_at=NOW,
    updated_at=NOW,
)


@pytest.mark.parametrize(
    ("before", "after", "alerts"),
    [
        ({"quantity": 10}, {"quantity": 4}, True),
        ({"quantity": 4}, {"quantity": 3}, True),
        ({"quantity": 3}, {"quantity": 4}, True),
        ({"quantity": 10}, {"quantity": 5}, False),
        ({"min_quantity": 5}, {"min_quantity": 11}, True),
        ({"min_quantity": 11}, {"min_quantity": 12}, True),
        ({"quantity": 3}, {"quantity": 3, "name": "Pump"}, False),
        ({"quantity": 3}, {"quantity": 3, "reserved_quantity": 1}, False),
        ({"quantity": 3}, {"quantity": 30}, False),
    ],
)
def test_an_alert_needs_a_change_of_stock_or_minimum_that_leaves_too_little(
    before: dict[str, Any], after: dict[str, Any], alerts: bool
) -> None:
    alert = low_stock(replace(ITEM, **before), replace(ITEM, **after))

    assert (alert is not None) is alerts


def test_a_creation_alerts_if_it_starts_with_too_little() -> None:
    alert = low_stock(None, replace(ITEM, quantity=3, reserved_quantity=0))

    assert alert is not None
    assert alert.alert == "Low stock: Hydraulic Pump has 3 left, minimum is 5"
    assert low_stock(None, ITEM) is None


def test_the_alert_comes_after_the_update_that_it_follows_from() -> None:
    after = replace(ITEM, quantity=3)

    events = updated_events(ITEM, after, diff(ITEM.view, after.view))

    assert [event.type for event in events] == ["item-updated", "low-stock-alert"]


def test_nothing_follows_where_nothing_changed() -> None:
    after = replace(ITEM, updated_at=datetime.now(UTC))

    assert updated_events(ITEM, after, diff(ITEM.view, after.view)) == []


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"quantity": 1}, "/quantity"),
        ({"quantity": 2, "serial_number": "S-1"}, "/serial_number"),
    ],
)
def test_quantities_that_cannot_stand_together_are_refused_with_their_field(
    values: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Unprocessable) as refused:
        check_quantities(replace(ITEM, **values))

    assert [error.pointer for error in refused.value.errors] == [pointer]


@pytest.mark.parametrize("values", [{"quantity": 2}, {"quantity": 1, "reserved_quantity": 1, "serial_number": "S-1"}])
def test_quantities_at_their_limits_are_accepted(values: dict[str, Any]) -> None:
    check_quantities(replace(ITEM, **values))


def test_changes_show_each_changed_field_as_the_api_does() -> None:
    after = replace(ITEM, name="Pump", purchase_date=None, attributes='{"a":[1.5],"b":1}', location_id=uuid4())

    assert diff(ITEM.view, after.view) == {
        "name": {"from": "Hydraulic Pump", "to": "Pump"},
        "purchase_date": {"from": "2024-01-31", "to": None},
        "location_id": {"from": None, "to": str(after.location_id)},
        "attributes": {"from": '{"b":1,"a":[1.5]}', "to": '{"a":[1.5],"b":1}'},
    }


@pytest.mark.parametrize(("old", "new"), [({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1.0}), ({"a": 0}, {"a": False})])
def test_values_that_python_holds_for_equal_are_still_a_change(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert diff({"attributes": old}, {"attributes": new}) == {
        "attributes": {"from": orjson.dumps(old).decode(), "to": orjson.dumps(new).decode()}
    }


def test_an_edit_changes_what_was_sent_and_nothing_else() -> None:
    sent = ItemUpdate.model_validate({"sku": None, "quantity": 7, "reserved_quantity": 99, "id": "x"})

    edited = rules.edited_item(ITEM, sent.model_dump(exclude_unset=True))

    assert edited == replace(ITEM, sku=None, quantity=7)


@pytest.mark.parametrize("field", ["name", "quantity", "min_quantity", "condition", "status", "attributes"])
def test_what_cannot_be_empty_refuses_null(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        ItemUpdate.model_validate({field: None})


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_attributes_are_bounded_in_size_and_depth() -> None:
    fits = {"a": "x" * (MAX_ATTRIBUTES_BYTES - 8)}
    assert ItemCreate(name="x", attributes=fits).attributes == fits
    assert ItemCreate(name="x", attributes=_nested(32))

    for refused in ({"a": "x" * (MAX_ATTRIBUTES_BYTES - 7)}, {"a": "ü" * (MAX_ATTRIBUTES_BYTES // 2)}, _nested(33)):
        with pytest.raises(ValidationError, match="at most"):
            ItemCreate(name="x", attributes=refused)


@pytest.mark.parametrize(
    "attributes",
    [{"a": "\x00"}, {"\x00": 1}, {"a": [{"b": ["\x00"]}]}, {"a": {"\x00": 1}}, {"a": "\ud800"}, {"\udfff": 1}],
)
def test_attributes_refuse_text_that_is_not_text_however_deep(attributes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="holds"):
        ItemCreate(name="x", attributes=attributes)


@pytest.mark.parametrize("value", ["2024-1-1", "18.02.2026", 1700000000, "1700000000", "2024-02-30", "", True])
def test_a_purchase_date_is_a_date(value: Any) -> None:
    with pytest.raises(ValidationError, match="purchase_date"):
        ItemCreate.model_validate({"name": "x", "purchase_date": value})


def test_a_move_takes_the_name_that_older_clients_use() -> None:
    place = uuid4()

    assert ItemMove.model_validate({"locationId": str(place)}).location_id == place
    assert ItemMove.model_validate({"location_id": None}).location_id is None
    with pytest.raises(ValidationError, match="location_id"):
        ItemMove.model_validate({})


def test_foremen_are_named_one_or_many_and_each_once() -> None:
    one, two = uuid4(), uuid4()

    assert Foremen(user_id=one, user_ids=[two, one, two]).all() == [one, two]
    with pytest.raises(ValidationError, match="must name somebody"):
        Foremen()


def test_only_foremen_can_be_assigned() -> None:
    foreman, worker, nobody = uuid4(), uuid4(), uuid4()
    roles = {foreman: "foreman", worker: "worker"}

    rules.check_foremen([foreman], roles)
    with pytest.raises(Unprocessable, match=f"{worker} is worker"):
        rules.check_foremen([foreman, worker], roles)
    with pytest.raises(BadRequest, match=f"no user has the id {nobody}"):
        rules.check_foremen([foreman, nobody], roles)


def test_a_category_cannot_be_below_itself() -> None:
    category, other = uuid4(), uuid4()

    rules.check_parent(category, {other}, levels=1)
    with pytest.raises(Unprocessable):
        rules.check_parent(category, {other, category}, levels=1)


def test_what_is_used_cannot_be_deleted() -> None:
    rules.check_location_unused(has_items=False, has_transfers=False, has_checkouts=False)
    rules.check_category_unused(by_items=False, by_categories=False)
    with pytest.raises(Conflict):
        rules.check_location_unused(has_items=True, has_transfers=False, has_checkouts=False)
    with pytest.raises(Conflict):
        rules.check_location_unused(has_items=False, has_transfers=True, has_checkouts=False)
    with pytest.raises(Conflict):
        rules.check_location_unused(has_items=False, has_transfers=False, has_checkouts=True)
    with pytest.raises(Conflict):
        rules.check_category_unused(by_items=True, by_categories=False)
    with pytest.raises(Conflict):
        rules.check_category_unused(by_items=False, by_categories=True)
