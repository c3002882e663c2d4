"""What an event concerns, read from its data: what webhooks are matched by."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from service.platform import canonical
from service.platform.canonical import Json
from service.platform.ids import is_id

_LOCATION_KEYS = ("location_id", "locationId", "fromLocation", "toLocation", "destinationLocation", "returnLocation")
_CATEGORY_KEYS = ("category_id", "categoryId")
_USER_KEYS = ("userId", "requestedBy")
_STOCK_KEY = "currentStock"
_ITEM_KEY = "itemId"
_MAX_BIGINT = 2**63 - 1
_DEPARTURE_VERSION = 8

_AUDIENCES = {
    "item-checkout": "checkout",
    "item-checkin": "checkout",
    "low-stock-alert": "inventory",
    "password-changed": "user",
    "delivery-failed": "user",
    "session-refreshed": "user",
    "secret-rotated": "user",
}
_AUDIENCES_BY_PREFIX = {
    "item-": "inventory",
    "location-": "inventory",
    "category-": "inventory",
    "transfer-": "transfer",
    "checkout-": "checkout",
    "user-": "user",
    "webhook-": "user",
}


class Unroutable(ValueError):
    """An outbox row cannot be fanned out; says why."""


class Subject(NamedTuple):
    """`data` is what will be signed and sent; the rest is what filters and readers are held against. Ids stay the texts that they
    are, in lower case: they go to the database as they came. Beside the places that the event
    concerns, `location_ids` has the departure of the place that an item was moved from."""

    data: str
    audience: str
    location_ids: tuple[str, ...]
    category_id: str | None
    user_ids: tuple[str, ...]
    stock: int | None
    item_id: str | None


def subject_of(event_type: str, text: str, location_ids: Iterable[UUID] | None) -> Subject:
    """The subject of an outbox row. Raises Unroutable.

    A row may come from psql, so its data need not be as JavaScript would write it: white space and escapes are mended here; what
    a receiver could not verify (a float, a key that JavaScript moves) is refused.
    """
    try:
        data, value = canonical.recanonicalise(text)
    except canonical.NotReproducible as error:
        raise Unroutable(str(error)) from None
    return subject_of_value(event_type, data, value, location_ids)


def subject_of_value(
    event_type: str, data: str, value: dict[str, Json], location_ids: Iterable[UUID] | None
) -> Subject:
    """The same of data that was written here: `data` is the text of `value`. Raises Unroutable."""
    places = _ids(value, _LOCATION_KEYS) if location_ids is None else [str(location_id) for location_id in location_ids]
    categories = _ids(value, _CATEGORY_KEYS)
    return Subject(
        data,
        audience_of(event_type),
        _each_once([*places, *_departures(value)] if places else places),
        categories[0] if categories else None,
        _each_once(_ids(value, _USER_KEYS)),
        _stock(value),
        _item(value),
    )


def departure(location_id: str) -> str:
    """The id that stands for leaving a location, among the places that an event concerns. The
    database's function of this name makes the same. No location has an id of its version."""
    digest = hashlib.sha256(f"leaves {location_id}".encode()).hexdigest()
    return str(UUID(f"{digest[:12]}8{digest[13:16]}8{digest[17:32]}"))


def is_departure(place: UUID) -> bool:
    return place.version == _DEPARTURE_VERSION


def _departures(value: dict[str, Json]) -> list[str]:
    """Of the place that an item was moved from. Nobody need be told that it left for no place: an item without one concerns all."""
    match value:
        case {"changes": {"location_id": {"from": str() as before}}} if is_id(before):
            return [departure(before.lower())]
    return []


def columns(subjects: Sequence[Subject]) -> dict[str, list[Any]]:
    """As statements take them, each column an array."""
    return {
        "audiences": [subject.audience for subject in subjects],
        "locations": [_literal(subject.location_ids) for subject in subjects],
        "categories": [subject.category_id for subject in subjects],
        "users": [_literal(subject.user_ids) for subject in subjects],
        "stocks": [subject.stock for subject in subjects],
        "items": [subject.item_id for subject in subjects],
    }


def audience_of(event_type: str) -> str:
    if (audience := _AUDIENCES.get(event_type)) is not None:
        return audience
    for prefix, audience in _AUDIENCES_BY_PREFIX.items():
        if event_type.startswith(prefix):
            return audience
    return "other"


def _ids(value: dict[str, Json], keys: tuple[str, ...]) -> list[str]:
    found = []
    for key in keys:
        if (text := value.get(key)) is None:
            continue
        if not isinstance(text, str) or not is_id(text):
            raise Unroutable(f"data.{key} is not an id")
        found.append(text.lower())
    return found


def _each_once(ids: list[str]) -> tuple[str, ...]:
    # Most have none or one.
    return tuple(ids) if len(ids) < 2 else tuple(dict.fromkeys(ids))


def _item(value: dict[str, Json]) -> str | None:
    """Orders, and neither filters nor decides who may read: an item under another kind of name stands in no order."""
    name = value.get(_ITEM_KEY)
    return name.lower() if isinstance(name, str) and is_id(name) else None


def _stock(value: dict[str, Json]) -> int | None:
    stock = value.get(_STOCK_KEY)
    if stock is None:
        return None
    if isinstance(stock, bool) or not isinstance(stock, int) or abs(stock) > _MAX_BIGINT:
        raise Unroutable(f"data.{_STOCK_KEY} is not an integer")
    return stock


def _literal(ids: Sequence[str]) -> str:
    """A PostgreSQL array: unnest cannot take arrays of different lengths as an array of arrays."""
    return "{" + ",".join(ids) + "}"
