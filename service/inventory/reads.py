"""Reading the items, locations and categories that a user may see. No read holds a transaction."""

import asyncio
from uuid import UUID

from service.api.call import Principal
from service.api.counts import Total, count, reached
from service.api.paging import IdPage, Newest, NewestPage
from service.api.slices import in_slices
from service.inventory import rules
from service.inventory.rows import category_from_row, location_from_row, move_from_row, place_from_row
from service.inventory.rules import FOREMAN, Category, CategoryNode, Location, LocationSummary, Move
from service.platform.db import Pool
from service.platform.errors import NotFound
from service.platform.queries import load
from service.stock.item import Item, item_from_row

_ITEMS = load("items")
_LOCATIONS = load("locations")
_CATEGORIES = load("categories")


async def get_item(pool: Pool, user: Principal, item_id: UUID) -> Item:
    async with pool.acquire() as connection:
        row = await _ITEMS.get.fetchrow(connection, id=item_id, foreman_id=_foreman_id(user))
    if row is None:
        raise NotFound("no item has this id")
    rules.check_readable(readable=row["readable"])
    return item_from_row(row)


async def location_summary(pool: Pool, user: Principal, item_id: UUID) -> LocationSummary:
    item = await get_item(pool, user, item_id)
    async with pool.acquire() as connection:
        if item.sku is not None:
            rows = await _ITEMS.locations_of_sku.fetch(connection, sku=item.sku, foreman_id=_foreman_id(user))
        else:
            rows = await _ITEMS.locations_of_name.fetch(connection, name=item.name, foreman_id=_foreman_id(user))
    return rules.location_summary(item, [place_from_row(row) for row in rows])


async def location_history(
    pool: Pool, user: Principal, item_id: UUID, page: NewestPage
) -> tuple[list[Move], list[Newest], Total]:
    await get_item(pool, user, item_id)
    foreman_id = _foreman_id(user)
    async with pool.acquire() as connection:
        rows = await _ITEMS.list_moves.fetch(
            connection, id=item_id, foreman_id=foreman_id, skip=page.skip, limit=page.limit, **page.before
        )
        seen = reached(page.skip, len(rows))
        total = await count(connection, _ITEMS.count_moves, seen=seen, id=item_id, foreman_id=foreman_id)
    return [move_from_row(row) for row in rows], [(row["at"], row["id"]) for row in rows], total


async def list_locations(pool: Pool, user: Principal, page: IdPage) -> tuple[list[Location], Total]:
    foreman_id = _foreman_id(user)
    async with pool.acquire() as connection:
        rows = await _LOCATIONS.list_visible.fetch(
            connection, foreman_id=foreman_id, after=page.after, skip=page.skip, limit=page.limit
        )
        seen = reached(page.skip, len(rows))
        total = await count(connection, _LOCATIONS.count_visible, seen=seen, foreman_id=foreman_id)
    return await in_slices(rows, location_from_row), total


async def get_location(pool: Pool, user: Principal, location_id: UUID) -> Location:
    async with pool.acquire() as connection:
        row = await _LOCATIONS.get.fetchrow(connection, id=location_id)
    if row is None:
        raise NotFound("no location has this id")
    location = location_from_row(row)
    rules.check_readable(readable=user.role != FOREMAN or user.user_id in location.foremen)
    return location


async def list_categories(pool: Pool, page: IdPage) -> tuple[list[Category], Total]:
    async with pool.acquire() as connection:
        rows = await _CATEGORIES.list_all.fetch(connection, after=page.after, skip=page.skip, limit=page.limit)
        total = await count(connection, _CATEGORIES.count_all, seen=reached(page.skip, len(rows)))
    return [category_from_row(row) for row in rows], total


async def category_tree(pool: Pool) -> list[CategoryNode]:
    async with pool.acquire() as connection:
        rows = await _CATEGORIES.tree.fetch(connection)
    # There may be any number of categories. A thread keeps the event loop free for other requests.
    return await asyncio.to_thread(lambda: rules.category_tree(category_from_row(row) for row in rows))


async def get_category(pool: Pool, category_id: UUID) -> Category:
    async with pool.acquire() as connection:
        row = await _CATEGORIES.get.fetchrow(connection, id=category_id)
    if row is None:
        raise NotFound("no category has this id")
    return category_from_row(row)


def _foreman_id(user: Principal) -> UUID | None:
    return user.user_id if user.role == FOREMAN else None
