"""The commands of items."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service.inventory import rules
from service.inventory.commands import locations
from service.mutation import Mutation, command
from service.platform.ids import new_id
from service.stock import ledger
from service.stock.item import Item


async def made(change: Mutation, values: Mapping[str, Any]) -> Item:
    """A new item. `values` are all the fields that a client may set."""
    change.action = "create"
    placed = await locations.placed(change, values)
    return ledger.create(change, rules.new_item(new_id(), placed, change.now))


async def edited(change: Mutation, item_id: UUID, values: Mapping[str, Any], *, action: str) -> Item:
    """The item as it is afterwards. `values` are the fields that the client sent. If they change
    nothing, nothing is written. `action` is the word for it in the audit trail."""
    change.action = action
    before = await ledger.read(change, item_id)
    change.check_match(before.view)
    placed = await locations.placed(change, values)
    return ledger.save(change, before, rules.edited_item(before, placed))


create = command("create")(made)
edit = command("update", of=0)(edited)


@command("delete", of=0)
async def delete(change: Mutation, item_id: UUID) -> None:
    item = await ledger.read(change, item_id)
    change.check_match(item.view)
    ledger.remove(change, item)
