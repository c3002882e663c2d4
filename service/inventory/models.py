"""The bodies and queries that the routes of items, locations and categories take."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import orjson
from pydantic import AfterValidator, AliasChoices, Field, model_validator

from service.api.fields import (
    EMPTY_IS_NULL,
    Body,
    Count,
    Day,
    Description,
    Id,
    Ids,
    MaybeId,
    Moment,
    Name,
    Query,
    Text,
)
from service.api.paging import SortedPage
from service.inventory.rules import USUAL_MINIMUM, usual_minimum
from service.inventory.words import search_words
from service.platform import canonical
from service.stock.item import Condition, ItemStatus

MAX_ATTRIBUTES_BYTES = 8192
MAX_ATTRIBUTES_DEPTH = 32
_TOO_LARGE = f"may be at most {MAX_ATTRIBUTES_BYTES} bytes of JSON"

Code = Annotated[Text, Field(min_length=1, max_length=100)]
# These may be absent. "" stands for null, because forms send it.
MaybeCode = Annotated[Code | None, EMPTY_IS_NULL]
MaybeName = Annotated[Name | None, EMPTY_IS_NULL]
Address = Annotated[Text, Field(max_length=1000)]

# The default of a field that a PUT may leave out. Nothing reads it, because model_fields_set has
# the fields that were sent.
ABSENT: Any = Field(default_factory=lambda: None)


def _attributes(value: dict[str, Any]) -> dict[str, Any]:
    # Each value takes at least one byte of JSON. So there are too many bytes when this range ends,
    # and the check does not go on for longer.
    _check_attributes(value, None, 1, iter(range(MAX_ATTRIBUTES_BYTES)))
    size = len(orjson.dumps(value))
    if size > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"may be at most {MAX_ATTRIBUTES_BYTES} bytes of JSON, and these are {size}")
    return value


# The place of a value: the place of the object or list that holds it, and its key or index there.
_Within: TypeAlias = "tuple[_Within, str | int] | None"


def _check_attributes(value: Any, within: _Within, depth: int, left: Iterator[int]) -> None:
    if next(left, None) is None:
        raise ValueError(_TOO_LARGE)
    if isinstance(value, dict | list) and depth > MAX_ATTRIBUTES_DEPTH:
        raise ValueError(f"may be nested at most {MAX_ATTRIBUTES_DEPTH} deep")
    match value:
        case str():
            _check_text(value, "", within)
        case dict():
            for key, inner in value.items():
                if len(key) > MAX_ATTRIBUTES_BYTES:
                    raise ValueError(_TOO_LARGE)
                _check_text(key, "a key of ", within)
                _check_attributes(inner, (within, key), depth + 1, left)
        case list():
            for number, inner in enumerate(value):
                _check_attributes(inner, (within, number), depth + 1, left)


def _check_text(text: str, what: str, within: _Within) -> None:
    try:
        canonical.check_text(text, "")
    except canonical.NotReproducible as error:
        # The place is made into text only now. Doing so for each of many values below a long key
        # would take long.
        raise ValueError(f"{what}{_spelled(within)}{error}") from None


def _spelled(within: _Within) -> str:
    steps: list[str] = []
    while within is not None:
        within, step = within
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    return "attributes" + "".join(reversed(steps))


def _with_words(search: str) -> str:
    search_words(search)
    return search


Attributes = Annotated[dict[str, Any], Field(max_length=MAX_ATTRIBUTES_BYTES // 4), AfterValidator(_attributes)]


class ItemCreate(Body):
    """`location_name` means the location of that name. If there is none, it is created."""

    name: Name
    sku: MaybeCode = None
    serial_number: MaybeCode = None
    description: Description | None = None
    quantity: Count = 0
    # A factory keeps the number out of the OpenAPI document, where a client would take it for the
    # default of all items.
    min_quantity: Count = Field(
        default_factory=lambda: USUAL_MINIMUM,
        description=f"{USUAL_MINIMUM}, or 0 for an item with a serial number, if it is left out.",
    )
    condition: Condition = "good"
    status: ItemStatus = "available"
    purchase_date: Day | None = None
    category_id: MaybeId = None
    location_id: MaybeId = None
    location_name: MaybeName = None
    attributes: Attributes = Field(default_factory=dict)

    @model_validator(mode="after")
    def _usual_minimum(self) -> "ItemCreate":
        if "min_quantity" not in self.model_fields_set:
            self.min_quantity = usual_minimum(self.serial_number)
        return self


class ItemUpdate(Body):
    """Any subset of the fields. null empties a field that may be empty."""

    name: Name = ABSENT
    sku: MaybeCode = ABSENT
    serial_number: MaybeCode = ABSENT
    description: Description | None = ABSENT
    quantity: Count = ABSENT
    min_quantity: Count = ABSENT
    condition: Condition = ABSENT
    status: ItemStatus = ABSENT
    purchase_date: Day | None = ABSENT
    category_id: MaybeId = ABSENT
    location_id: MaybeId = ABSENT
    location_name: MaybeName = ABSENT
    attributes: Attributes = ABSENT


class ItemMove(Body):
    """With null, the item is at no location afterwards. Older clients send `locationId`."""

    location_id: MaybeId = Field(validation_alias=AliasChoices("location_id", "locationId"))


class ItemFilters(Query):
    """Filters for items. With `subcategories`, the items of all categories below `category_id`
    pass, too. The moment or day that a field names with `since` or `until` is included."""

    search: Annotated[Text, Field(max_length=255), AfterValidator(_with_words)] | None = None
    category_id: Id | None = None
    subcategories: bool = False
    location_id: Id | None = None
    status: ItemStatus | None = None
    condition: Condition | None = None
    serial_number: Code | None = None
    low_stock: bool | None = None
    updated_since: Moment | None = None
    created_since: Moment | None = None
    purchased_since: Day | None = None
    purchased_until: Day | None = None

    @model_validator(mode="after")
    def _subcategories_of_one(self) -> "ItemFilters":
        if self.subcategories and self.category_id is None:
            raise ValueError("subcategories needs a category_id")
        return self


class ItemQuery(ItemFilters, SortedPage):
    KINDS: ClassVar[Mapping[str, type]] = {
        "name": str,
        "sku": str,
        "quantity": int,
        "created_at": datetime,
        "updated_at": datetime,
        "purchase_date": date,
    }
    sort: (
        Literal[
            "name",
            "-name",
            "sku",
            "-sku",
            "quantity",
            "-quantity",
            "created_at",
            "-created_at",
            "updated_at",
            "-updated_at",
            "purchase_date",
            "-purchase_date",
        ]
        | None
    ) = None


class LocationCreate(Body):
    name: Name
    description: Description | None = None
    address: Address | None = None


class LocationUpdate(Body):
    name: Name = ABSENT
    description: Description | None = ABSENT
    address: Address | None = ABSENT


class Foremen(Body):
    """One user, or several."""

    user_id: MaybeId = None
    user_ids: Ids = Field(default_factory=list)

    @model_validator(mode="after")
    def _somebody(self) -> "Foremen":
        if not self.all():
            raise ValueError("user_id or user_ids must name somebody")
        return self

    def all(self) -> list[Id]:
        return list(dict.fromkeys([*([self.user_id] if self.user_id else []), *self.user_ids]))


class CategoryCreate(Body):
    name: Name
    description: Description | None = None
    parent_id: MaybeId = None


class CategoryUpdate(Body):
    name: Name = ABSENT
    description: Description | None = ABSENT
    parent_id: MaybeId = ABSENT
