"""The commands of items. Each is one transaction. `create` and `edit` return the item as it is
afterwards."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service.inventory import rules
from service.inventory.commands import locations
from service.mutation import Origin, mutation
from service.platform.db import Pool
from service.platform.ids import new_id
from service.stock import ledger
from service.stock.item import Item, item_view


async def create(pool: Pool, origin: Origin, values: Mapping[str, Any]) -> Item:
    """`values` are all the fields that a client may set."""
    async with mutation(pool, origin, "create") as change:
        placed = await locations.placed(change, values)
        return await ledger.create(change, rules.new_item(new_id(), placed, change.now))


async def edit(pool: Pool, origin: Origin, item_id: UUID, values: Mapping[str, Any], *, action: str) -> Item:
    """`values` are the fields that the client sent. If they change nothing, nothing is written."""
    async with mutation(pool, origin, action) as change:
        before = await ledger.lock(change, item_id)
        change.check_match(item_view(before))
        placed = await locations.placed(change, values)
        return await ledger.save(change, before, rules.edited_item(before, placed))


async def delete(pool: Pool, origin: Origin, item_id: UUID) -> None:
    async with mutation(pool, origin, "delete") as change:
        item = await ledger.lock(change, item_id)
        change.check_match(item_view(item))
        await ledger.remove(change, item)
