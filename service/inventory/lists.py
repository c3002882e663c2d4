"""Lists of items: counted up to a bound, filtered, searched, and in the order asked for.

A page is looked for in two ways. First a stretch of the order's index is walked through: that finds a page wherever many items
pass the filters, however many there are. If it is not full by then, few pass, or they stand together elsewhere: all of them are
found by the filters' own indexes, and put in order.
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
# What stands in for the pool in one costly read, once that is admitted.
Admitted = Callable[[], AbstractAsyncContextManager[Pool]]
_CATEGORIES = load("categories")
# How many items of an order are walked through besides those that are skipped.
STRETCH = 5000
# Each kind of key where the order is by another, as sort_listed has them.
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
    """A page, and how many there are in all. The first look at the index is bounded and cheap. If the
    page needs every matching item put in order, that part waits for admission, and holds no
    connection meanwhile."""
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
    """The ids of all items that are wanted, in their order, a stretch at a time. Each is admitted and read by itself: an item that
    is created meanwhile may be among them, and one that is deleted may be missing."""
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
    """A connection whose statements are planned for their values."""
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        await _SQL.plan_for_values.execute(connection)
        yield connection


def place_of(item: Item, order: Order) -> Place:
    """Where a page after this item goes on."""
    key: Any = getattr(item, order.by)
    if key is None:
        key = date.min if order.by == "purchase_date" else ""
    return Place(order, key, item.id)


async def by_ids(connection: Connection, ids: Sequence[UUID]) -> list[Item]:
    """The items, in the order of their ids as given; without those that are gone."""
    found = {row["id"]: item_from_row(row) for row in await _SQL.by_ids.fetch(connection, ids=list(ids))}
    return [found[id] for id in ids if id in found]


async def read(pool: Pool, ids: Sequence[UUID]) -> list[Item]:
    """As `by_ids`, on a connection of its own."""
    async with pool.acquire() as connection:
        return await by_ids(connection, ids)


class Listing:
    """What a user asks for of the items that they may see."""

    def __init__(self, connection: Connection, filters: Mapping[str, Any], words: Sequence[str]) -> None:
        self.connection = connection
        self._filters = filters
        self._words = (
            {"first": words[0], "second": words[min(1, len(words) - 1)], "words": list(words)} if words else None
        )

    @classmethod
    async def of(cls, connection: Connection, user: Principal, wanted: ItemFilters) -> "Listing":
        """In a transaction that plans for values."""
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
        """How many there are. `seen`: how far a page reaches, which is the least that there are where counting takes too long."""
        statement = _SQL.count_listed if self._words is None else _SQL.count_found
        return await counts.count(self.connection, statement, seen=seen, **(self._words or {}), **self._filters)

    async def walk(self, order: Order, after: Place | None, skip: int, limit: int) -> list[UUID] | None:
        """The ids of a page that one stretch of the order's index fills, or the last page. None: the
        stretch was too short, so that only `sort` can tell."""
        wanted = {"limit": limit, **order_values(order, after), **self._filters}
        # Without filters every item is on a page: those to be skipped are not even looked at.
        passed, skip, stretch = (0, skip, STRETCH) if self._is_filtered else (skip, 0, limit)
        walked = await self._walk(passed=passed, most=stretch, skip=skip, **wanted)
        ids: list[UUID] = walked["ids"]
        return None if len(ids) < limit and walked["examined"] == stretch else ids

    async def sort(self, order: Order, after: Place | None, skip: int, limit: int) -> list[UUID]:
        """The ids of a page, out of all matching items, which are read and put in order: costly, as
        there is no bound on how many match."""
        wanted = {"limit": limit, **order_values(order, after), **self._filters}
        sort = _SQL.sort_listed if self._words is None else _SQL.sort_found
        ids: list[UUID] = await sort.fetchval(self.connection, skip=skip, **wanted, **(self._words or {}))
        return ids

    async def stretch(self, after: Place | None) -> tuple[list[UUID], UUID | None]:
        """The ids in the next stretch of all items, and where the one after it begins; None: nowhere."""
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
    """The parameters of a page in this order."""
    keys = dict(_NO_KEYS)
    if after is not None and order.by in _KEYS:
        keys[_KEYS[order.by]] = after.key
    return {"sort": order.by, "descending": order.descending, "after_id": after and after.id, **keys}
