"""Lists that a client can order: `?sort=name`, `?sort=-name`, and the cursors of these orders."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, cast
from uuid import UUID

import orjson

from service.api.fields import MAX_INTEGER
from service.platform import canonical

Key = str | int | datetime | date
_KIND = b"s"


@dataclass(frozen=True, slots=True)
class Order:
    """Orders by a column. Rows that have the same value there are ordered by id."""

    by: str
    descending: bool

    @classmethod
    def parse(cls, sort: str) -> "Order":
        """Parses `name` or `-name`."""
        return cls(sort.removeprefix("-"), sort.startswith("-"))

    def __str__(self) -> str:
        return f"-{self.by}" if self.descending else self.by


BY_ID = Order("id", descending=False)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a row in an order. `key` is the row's value in the order's column."""

    order: Order
    key: Key
    id: UUID

    def encode(self) -> str:
        """An opaque text. It has at most 4,200 characters if the key has 255."""
        key = self.key.isoformat() if isinstance(self.key, date) else self.key
        raw = _KIND + orjson.dumps([str(self.order), key, self.id.hex])
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, kinds: Mapping[str, type]) -> "Place":
        """The place from which `encode` made this text. `kinds` has the type of each column by
        which the list can be ordered. Raises ValueError for any other text."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if raw[:1] != _KIND:
                raise ValueError
            sort, value, id = orjson.loads(raw[1:])
            order = Order.parse(sort)
            place = cls(order, _key(kinds[order.by], value), UUID(hex=id))
        except (binascii.Error, ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise ValueError("is no place in a list") from None
        if place.encode() != text:
            raise ValueError("is no place in a list")
        return place


def _key(kind: type, value: Any) -> Key:
    if kind is datetime:
        return datetime.fromisoformat(value).astimezone(UTC)
    if kind is date:
        return date.fromisoformat(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError
    # No row has a key that the database cannot hold. As a parameter, it would make the statement
    # fail.
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise OverflowError
    if isinstance(value, str):
        canonical.check_text(value, "the key")
    return cast(Key, value)
