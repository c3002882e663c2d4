"""The subject of an event, derived from its data. Fan-out matches webhooks by it."""

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
    """An outbox row cannot be fanned out. The message says why."""


class Subject(NamedTuple):
    """The canonical `data` of an event, which is signed and sent, and the event's subject. Filters
    and the rights of readers are checked against the subject.

    `location_ids` are the locations that the event concerns. If an item was moved, the departure
    from its previous location is one of them. Ids remain text, in lower case, because statements
    take them as text."""

    data: str
    audience: str
    location_ids: tuple[str, ...]
    category_id: str | None
    user_ids: tuple[str, ...]
    stock: int | None
    item_id: str | None


def subject_of(event_type: str, text: str, location_ids: Iterable[UUID] | None) -> Subject:
    """The subject of an outbox row, whose data is `text`. `location_ids` are its locations, or None
    if they are in the data. Raises Unroutable.

    A row may come from psql, so its data need not be canonical. This function mends white space and
    escapes. It refuses data that a receiver could not verify: a float, or a key that JavaScript
    would move.
    """
    try:
        data, value = canonical.recanonicalise(text)
    except canonical.NotReproducible as error:
        raise Unroutable(str(error)) from None
    return subject_of_value(event_type, data, value, location_ids)


def subject_of_value(
    event_type: str, data: str, value: dict[str, Json], location_ids: Iterable[UUID] | None
) -> Subject:
    """The same, for data that is canonical already. `data` is the text of `value`. Raises
    Unroutable."""
    places = _ids(value, _LOCATION_KEYS) if location_ids is None else [str(location_id) for location_id in location_ids]
    categories = _ids(value, _CATEGORY_KEYS)
    return Subject(
        data,
        audience_of(event_type),
        # An event without a location passes each filter on locations, so it needs no departure.
        _each_once([*places, *_departures(value)] if places else places),
        categories[0] if categories else None,
        _each_once(_ids(value, _USER_KEYS)),
        _stock(value),
        _item(value),
    )


def departure(location_id: str) -> str:
    """The id that stands for the departure from a location, in `Subject.location_ids`. The
    database's function `departure` makes the same id. It is a UUID of version 8, and no location
    has an id of that version."""
    digest = hashlib.sha256(f"leaves {location_id}".encode()).hexdigest()
    return str(UUID(f"{digest[:12]}8{digest[13:16]}8{digest[17:32]}"))


def is_departure(place: UUID) -> bool:
    return place.version == _DEPARTURE_VERSION


def _departures(value: dict[str, Json]) -> list[str]:
    """The departure from the location that an item was moved from, if it was moved."""
    match value:
        case {"changes": {"location_id": {"from": str() as before}}} if is_id(before):
            return [departure(before.lower())]
    return []


def columns(subjects: Sequence[Subject]) -> dict[str, list[Any]]:
    """The subjects as parameters of a statement: for each column, an array of its values."""
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
    # Most lists have no id or one.
    return tuple(ids) if len(ids) < 2 else tuple(dict.fromkeys(ids))


def _item(value: dict[str, Json]) -> str | None:
    """The id of the item in whose order the event is. No filter and no right to read depends on it.
    So an `itemId` that is not an id is no error, and the event is in no order."""
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
    """A PostgreSQL array as text. A parameter cannot be an array of arrays that differ in
    length."""
    return "{" + ",".join(ids) + "}"
