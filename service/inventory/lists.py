"""Lists of items: filtered, searched, ordered, and counted up to a bound.

There are two ways to find a page. A walk reads one stretch of the index that has the order of the
list. It fills the page if many items there pass the filters, and it costs the same for any number
of items. If the page is not full after the walk, then few items pass, or they all stand elsewhere
in the order. A sort then finds all matching items by the indexes of the filters, and puts them in
order.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from service.api import counts
from service.api.call import Principal
from service.api.counts import Total
from service.api.order import BY_ID, Order, Place
from service.inventory.models import ItemFilters, ItemQuery
from service.inventory.rules import FOREMAN
from service.inventory.words import search_words
from service.platform.db import Pool
from service.platform.queries import Connection, load
from service.stock.item import Item, item_from_row

_SQL = load("lists")
# Waits until a costly read is admitted, and gives the pool that this read uses.
Admitted = Callable[[], AbstractAsyncContextManager[Pool]]
_CATEGORIES = load("categories")
# How many items a stretch of an order has.
STRETCH = 5000
# The value of each kind of key in an order that goes by another kind. The statements sort_listed
# and sort_found have the same values.
_NO_KEYS: Mapping[str, Any] = {
    "after_text": "",
    "after_number": 0,
    "after_time": datetime(1970, 1, 1, tzinfo=UTC),
    "after_day": date.min,
}
_KEYS = {
    "name": "after_text",
    "sku": "after_text",
    "quantity": "after_number",
    "created_at": "after_time",
    "updated_at": "after_time",
    "purchase_date": "after_day",
}
_FILTERS = (
    "location_id",
    "status",
    "condition",
    "serial_number",
    "low_stock",
    "updated_since",
    "created_since",
    "purchased_since",
    "purchased_until",
)


async def list_items(pool: Pool, admitted: Admitted, user: Principal, query: ItemQuery) -> tuple[list[Item], Total]:
    """A page of the items, and how many match in all. The walk is bounded and cheap, so it needs no
    admission. A sort waits for admission, and holds no connection while it waits."""
    async with planned(pool) as connection:
        listing = await Listing.of(connection, user, query)
        ids = await listing.walk(query.order, query.after, query.skip, query.limit)
        if ids is not None:
            return await _shown(listing, ids, query)
    async with admitted() as unit, planned(unit) as connection:
        listing = await Listing.of(connection, user, query)
        ids = await listing.sort(query.order, query.after, query.skip, query.limit)
        return await _shown(listing, ids, query)


async def _shown(listing: "Listing", ids: Sequence[UUID], query: ItemQuery) -> tuple[list[Item], Total]:
    items = await by_ids(listing.connection, ids)
    return items, await listing.count(seen=counts.reached(query.skip, len(ids)))


async def stretches(admitted: Admitted, user: Principal, wanted: ItemFilters) -> AsyncIterator[list[UUID]]:
    """Yields the ids of all matching items in the order of their ids, one stretch at a time. Each
    stretch is admitted and read by itself. So an item that is created meanwhile may be among them,
    and an item that is deleted meanwhile may be missing."""
    few: list[UUID] | None = None
    async with admitted() as pool, planned(pool) as connection:
        listing = await Listing.of(connection, user, wanted)
        if not (await listing.count()).is_minimum:
            few = await listing.walk(BY_ID, None, 0, counts.MOST)
            if few is None:
                few = await listing.sort(BY_ID, None, 0, counts.MOST)
    if few is not None:
        yield few
        return
    after: Place | None = None
    while True:
        async with admitted() as pool, planned(pool) as connection:
            listing = await Listing.of(connection, user, wanted)
            ids, last = await listing.stretch(after)
        yield ids
        if last is None:
            return
        after = Place(BY_ID, "", last)


@asynccontextmanager
async def planned(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in a read-only transaction. PostgreSQL plans each of its statements for the
    values of the parameters."""
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        await _SQL.plan_for_values.execute(connection)
        yield connection


def place_of(item: Item, order: Order) -> Place:
    """The place after which the next page begins, if this item is the last of its page."""
    key: Any = getattr(item, order.by)
    if key is None:
        key = date.min if order.by == "purchase_date" else ""
    return Place(order, key, item.id)


async def by_ids(connection: Connection, ids: Sequence[UUID]) -> list[Item]:
    """The items with these ids, in the same order, without those that were deleted meanwhile."""
    found = {row["id"]: item_from_row(row) for row in await _SQL.by_ids.fetch(connection, ids=list(ids))}
    return [found[id] for id in ids if id in found]


async def read(pool: Pool, ids: Sequence[UUID]) -> list[Item]:
    """The same as `by_ids`, on a connection of its own."""
    async with pool.acquire() as connection:
        return await by_ids(connection, ids)


class Listing:
    """The items that match a query and that its user may see."""

    def __init__(self, connection: Connection, filters: Mapping[str, Any], words: Sequence[str]) -> None:
        self.connection = connection
        self._filters = filters
        self._words = (
            {"first": words[0], "second": words[min(1, len(words) - 1)], "words": list(words)} if words else None
        )

    @classmethod
    async def of(cls, connection: Connection, user: Principal, wanted: ItemFilters) -> "Listing":
        """`connection` is one that `planned` gave."""
        category_ids = None if wanted.category_id is None else [wanted.category_id]
        if category_ids and wanted.subcategories:
            rows = await _CATEGORIES.with_descendants.fetch(connection, id=wanted.category_id)
            category_ids = [row["id"] for row in rows]
        filters = {
            "category_ids": category_ids,
            "foreman_id": user.user_id if user.role == FOREMAN else None,
            **{name: getattr(wanted, name) for name in _FILTERS},
        }
        return cls(connection, filters, search_words(wanted.search) if wanted.search else ())

    async def count(self, *, seen: int = 0) -> Total:
        """How many items match. `seen` is how far a page reaches. If the count takes too long,
        `seen` is the least number that the answer names."""
        statement = _SQL.count_listed if self._words is None else _SQL.count_found
        return await counts.count(self.connection, statement, seen=seen, **(self._words or {}), **self._filters)

    async def walk(self, order: Order, after: Place | None, skip: int, limit: int) -> list[UUID] | None:
        """The ids of a page, if one stretch of the order's index fills it or reaches the end of the
        list. Otherwise None, and only `sort` can find the page."""
        wanted = {"limit": limit, **order_values(order, after), **self._filters}
        # Without filters every item matches, so the items to be skipped need not be examined.
        passed, skip, stretch = (0, skip, STRETCH) if self._is_filtered else (skip, 0, limit)
        walked = await self._walk(passed=passed, most=stretch, skip=skip, **wanted)
        ids: list[UUID] = walked["ids"]
        return None if len(ids) < limit and walked["examined"] == stretch else ids

    async def sort(self, order: Order, after: Place | None, skip: int, limit: int) -> list[UUID]:
        """The ids of a page. All matching items are read and put in order. That is costly, because
        any number of items may match."""
        wanted = {"limit": limit, **order_values(order, after), **self._filters}
        sort = _SQL.sort_listed if self._words is None else _SQL.sort_found
        ids: list[UUID] = await sort.fetchval(self.connection, skip=skip, **wanted, **(self._words or {}))
        return ids

    async def stretch(self, after: Place | None) -> tuple[list[UUID], UUID | None]:
        """The ids of the matching items in the stretch that begins after `after`, and the last id
        of that stretch. The last id is None if no stretch follows."""
        wanted = {**order_values(BY_ID, after), **self._filters}
        walked = await self._walk(passed=0, most=STRETCH, skip=0, limit=STRETCH, **wanted)
        return walked["ids"], walked["last"] if walked["examined"] == STRETCH else None

    async def _walk(self, **wanted: Any) -> asyncpg.Record:
        first, words = (self._words["first"], self._words["words"]) if self._words else (None, None)
        row = await _SQL.walk.fetchrow(self.connection, first=first, words=words, **wanted)
        assert row is not None
        return row

    @property
    def _is_filtered(self) -> bool:
        return self._words is not None or any(value is not None for value in self._filters.values())


def order_values(order: Order, after: Place | None) -> dict[str, Any]:
    """The parameters of a statement for a page that begins after `after` in this order."""
    keys = dict(_NO_KEYS)
    if after is not None and order.by in _KEYS:
        keys[_KEYS[order.by]] = after.key
    return {"sort": order.by, "descending": order.descending, "after_id": after and after.id, **keys}
