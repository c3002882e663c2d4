"""The mutation that writers make: a change of an item's quantity, with the service's own
statements."""

import random
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from service.events.catalogue import ItemUpdated
from service.platform.ids import new_id
from service.platform.queries import Connection, load
from service.records import Origin, Records
from service.stock.item import COLUMNS, Item, item_from_row

_STOCK = load("stock")
_TICK = timedelta(microseconds=1)


async def mutate(connection: Connection, item_id: UUID, actor_id: UUID, quantity: int | None = None) -> Item:
    """A read, and a statement that writes the item, its event and its audit record. It is done
    again if somebody else has changed the item in between. `quantity` is the new quantity. None
    chooses another one than the present."""
    while True:
        row = await _STOCK.get.fetchrow(connection, id=item_id)
        assert row is not None, "items are not deleted here"
        before = item_from_row(row)
        wanted = (before.quantity + random.randint(1, 999)) % 1000 if quantity is None else quantity
        after = replace(before, quantity=wanted, updated_at=before.updated_at + _TICK)
        values = {name: getattr(after, name) for name in COLUMNS if name != "created_at"}
        applied = await _STOCK.update.fetchrow(
            connection,
            **values,
            version=row["version"],
            delta=after.quantity - before.quantity,
            reason="counted",
            reference_id=None,
            **_record(actor_id, before, after),
        )
        if applied is not None:
            return after


def _record(actor_id: UUID, before: Item, after: Item) -> dict[str, str]:
    event = ItemUpdated(
        itemId=after.id,
        name=after.name,
        sku=after.sku,
        quantity=after.quantity,
        location_id=after.location_id,
        category_id=after.category_id,
        changes={"quantity": {"from": before.quantity, "to": after.quantity}},
    )
    records = Records(Origin(actor_id, "127.0.0.1", str(new_id())))
    records.event(event.type, event.subject())
    records.audit("update", "item", after.id, before.view, after.view)
    [call] = records.calls()
    return call.parameters()
