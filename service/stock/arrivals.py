"""Units that arrive at another location than their item's, and the item that they join there.

Locks are taken in this order: the location at which the units arrive, then the items in the order
of their ids.
"""

from dataclasses import replace
from uuid import UUID

from service.mutation import Mutation
from service.platform.errors import Conflict, NotFound
from service.platform.ids import new_id
from service.platform.queries import load
from service.stock import ledger
from service.stock.item import MAX_QUANTITY, Item
from service.stock.ledger import Reason

_SQL = load("arrivals")
_OUT_OF_USE = frozenset({"retired", "lost"})


async def lock(change: Mutation, item_id: UUID, location_id: UUID) -> tuple[Item, Item | None]:
    """Locks the item and, if there is one, the item that its units join at the location.
    Raises NotFound, and Conflict if other mutations changed these items while this one waited for
    the locks."""
    await _SQL.lock_place.execute(change, location_id=location_id)
    there_id = await _match(change, item_id, location_id)
    items = await ledger.lock_several(change, [item_id, *([there_id] if there_id else [])])
    if item_id not in items:
        raise NotFound("no item has this id")
    # Both items may have been edited while this mutation waited for the locks. From now on they
    # stay as they are.
    if there_id != await _match(change, item_id, location_id):
        raise _overtaken()
    return items[item_id], items[there_id] if there_id else None


def joined(item: Item, there: Item | None, location_id: UUID, quantity: int) -> Item:
    """The item at the location after `quantity` units of `item` have joined it. This is `there` or,
    if that is None, a new item like `item`. Raises Conflict if the units cannot join `there`.

    Do not call it for an item with a serial number. Such an item is one unit, so the item itself
    moves."""
    if there is None:
        return replace(
            item,
            id=new_id(),
            location_id=location_id,
            quantity=quantity,
            reserved_quantity=0,
            status=item.status if item.status == "maintenance" else "available",
        )
    if there.serial_number is not None:
        raise Conflict(f"the item of this sku there, {there.name}, has a serial number, which names one unit")
    if there.status in _OUT_OF_USE:
        raise Conflict(f"the item of this sku there, {there.name}, is {there.status}")
    if there.quantity + quantity > MAX_QUANTITY:
        raise Conflict(f"{there.name} has {there.quantity} units there, and more than {MAX_QUANTITY} cannot be")
    status = "available" if there.status == "checked_out" else there.status
    return replace(there, quantity=there.quantity + quantity, status=status)


def store(change: Mutation, there: Item | None, arrived: Item, *, reason: Reason, reference_id: UUID) -> Item:
    """Stores `arrived`, which `joined` made of `there`. Raises as `ledger.save` does. The mutation
    raises Conflict if another one has created such an item since `lock` looked for one."""
    if there is not None:
        return ledger.save(change, there, arrived, reason=reason, reference_id=reference_id)
    return ledger.create(change, arrived, reason=reason, reference_id=reference_id, taken=_overtaken())


async def _match(change: Mutation, item_id: UUID, location_id: UUID) -> UUID | None:
    found: UUID | None = await _SQL.match.fetchval(change, item_id=item_id, location_id=location_id)
    return found


def _overtaken() -> Conflict:
    return Conflict("somebody else changed the items at the location at the same moment; try again")
