"""The rules of items, locations and categories.

The functions are pure. They take the present state and a request, and return the new state or raise
a problem.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from typing_extensions import TypedDict

from service.platform.clock import iso
from service.platform.errors import BadRequest, Conflict, FieldError, Forbidden, Unprocessable
from service.stock.item import Item

# How many levels the tree of categories may have. A tree of 127 levels cannot be written as JSON.
MAX_DEPTH = 64
FOREMAN = "foreman"
# The min_quantity of a new item, unless the client sends one. It is 0 for an item with a serial
# number, which is one unit and may be checked out.
USUAL_MINIMUM = 5


class LocationView(TypedDict):
    """A location as the API shows it; `foremen` are ids of users."""

    id: str
    name: str
    description: str | None
    address: str | None
    foremen: list[str]
    created_at: str
    updated_at: str


class CategoryView(TypedDict):
    """A category as the API shows it."""

    id: str
    name: str
    description: str | None
    parent_id: str | None
    created_at: str
    updated_at: str


class CategoryNode(CategoryView):
    """A category with its children, ordered by name."""

    children: "list[CategoryNode]"


class Place(TypedDict):
    """How many units of an item are at a location. `location_id` is null for those at no
    location."""

    location_id: str | None
    location_name: str | None
    quantity: int
    reserved_quantity: int
    available: int


class Quantities(TypedDict):
    quantity: int
    reserved_quantity: int
    available: int


class LocationSummary(TypedDict):
    """Where the items with the sku of this item are. For an item without a sku, these are the items
    without a sku that have its name. Only the items that the reader may see count."""

    item_id: str
    name: str
    sku: str | None
    locations: list[Place]
    totals: Quantities


class Mover(TypedDict):
    id: str
    username: str | None


class Move(TypedDict):
    """A move of an item from one location to another, where null is no location. `reason` is the
    action that moved it."""

    from_location_id: str | None
    to_location_id: str | None
    at: str
    by: Mover | None
    reason: str


@dataclass(frozen=True, slots=True)
class Location:
    id: UUID
    name: str
    description: str | None
    address: str | None
    foremen: tuple[UUID, ...]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Category:
    id: UUID
    name: str
    description: str | None
    parent_id: UUID | None
    created_at: datetime
    updated_at: datetime


def location_view(location: Location) -> LocationView:
    return {
        "id": str(location.id),
        "name": location.name,
        "description": location.description,
        "address": location.address,
        "foremen": [str(user_id) for user_id in location.foremen],
        "created_at": iso(location.created_at),
        "updated_at": iso(location.updated_at),
    }


def category_view(category: Category) -> CategoryView:
    return {
        "id": str(category.id),
        "name": category.name,
        "description": category.description,
        "parent_id": str(category.parent_id) if category.parent_id else None,
        "created_at": iso(category.created_at),
        "updated_at": iso(category.updated_at),
    }


def category_tree(categories: Iterable[Category]) -> list[CategoryNode]:
    """The categories without a parent, each with all categories below it, in the given order.

    Rows that are older than the bound MAX_DEPTH may be nested deeper. A node at that depth has all
    categories below it in one list of children, because a much deeper tree cannot be written as
    JSON. Their `parent_id` shows which of them is below which."""
    nodes: dict[UUID, CategoryNode] = {
        category.id: {**category_view(category), "children": []} for category in categories
    }
    roots = []
    for node in nodes.values():
        if node["parent_id"] is None:
            roots.append(node)
        else:
            nodes[UUID(node["parent_id"])]["children"].append(node)
    level = roots
    for _ in range(MAX_DEPTH - 1):
        level = [child for node in level for child in node["children"]]
    for node in level:
        node["children"] = _flattened(node)
    return roots


def _flattened(node: CategoryNode) -> list[CategoryNode]:
    """All categories below `node`, each without children, in the order of the tree."""
    found: list[CategoryNode] = []
    left = node["children"][::-1]
    while left:
        below = left.pop()
        left += reversed(below["children"])
        found.append({**below, "children": []})
    return found


def location_summary(item: Item, places: Sequence[Place]) -> LocationSummary:
    return {
        "item_id": str(item.id),
        "name": item.name,
        "sku": item.sku,
        "locations": list(places),
        "totals": {
            "quantity": sum(place["quantity"] for place in places),
            "reserved_quantity": sum(place["reserved_quantity"] for place in places),
            "available": sum(place["available"] for place in places),
        },
    }


def usual_minimum(serial_number: str | None) -> int:
    """The min_quantity of an item with this serial number or without one, unless a client sets
    it."""
    return USUAL_MINIMUM if serial_number is None else 0


def new_item(item_id: UUID, values: Mapping[str, Any], now: datetime) -> Item:
    """`values` are all the fields that a client may set."""
    return Item(id=item_id, reserved_quantity=0, created_at=now, updated_at=now, **_as_stored(values))


def edited_item(item: Item, values: Mapping[str, Any]) -> Item:
    """`values` are the fields that the client sent. If an item with the usual minimum gets a serial
    number, it gets the usual minimum of items with a serial number, unless the client sent one."""
    edited = replace(item, **_as_stored(values))
    gets_number = item.serial_number is None and edited.serial_number is not None
    if gets_number and "min_quantity" not in values and item.min_quantity == usual_minimum(None):
        return replace(edited, min_quantity=usual_minimum(edited.serial_number))
    return edited


def _as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    stored = dict(values)
    if "attributes" in stored:
        stored["attributes"] = orjson.dumps(stored["attributes"]).decode()
    return stored


def check_parent(category_id: UUID, line: Collection[UUID], levels: int) -> None:
    """`line` is the new parent and its ancestors. `levels` is how many levels the category and the
    categories below it have. Raises Unprocessable if the category is in `line`, or if the tree
    would be too deep."""
    if category_id in line:
        raise Unprocessable.at("/parent_id", "a category cannot be below itself")
    if len(line) + levels > MAX_DEPTH:
        raise Unprocessable.at("/parent_id", f"categories may be nested at most {MAX_DEPTH} deep")


def check_foremen(user_ids: Collection[UUID], roles: Mapping[UUID, str]) -> None:
    """Raises BadRequest if no user has one of the ids, and Unprocessable if one of the users is no
    foreman. The problem names all of these users."""
    unknown = [user_id for user_id in user_ids if user_id not in roles]
    if unknown:
        raise BadRequest(
            f"no user has the id {unknown[0]}",
            errors=[FieldError("/user_ids", f"no user has the id {user_id}") for user_id in unknown],
        )
    wrong = [user_id for user_id in user_ids if roles[user_id] != FOREMAN]
    if wrong:
        raise Unprocessable(
            f"only users with the role foreman can be assigned, and {wrong[0]} is {roles[wrong[0]]}",
            errors=[FieldError("/user_ids", f"{user_id} is {roles[user_id]}") for user_id in wrong],
        )


def check_location_unused(*, has_items: bool, has_transfers: bool, has_checkouts: bool) -> None:
    if has_items:
        raise Conflict("the location still has items, so it cannot be deleted")
    if has_transfers:
        raise Conflict("units are still being transferred from or to the location, so it cannot be deleted")
    if has_checkouts:
        raise Conflict("an open checkout has the location as its destination, so it cannot be deleted")


def check_category_unused(*, by_items: bool, by_categories: bool) -> None:
    if by_items:
        raise Conflict("items are still in this category, so it cannot be deleted")
    if by_categories:
        raise Conflict("the category still has categories below it, so it cannot be deleted")


def check_readable(*, readable: bool) -> None:
    if not readable:
        raise Forbidden("a foreman reads only the locations assigned to them")
