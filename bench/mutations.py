"""The mutation that writers make: a change of an item's quantity, with the service's own
statements."""

import random
from uuid import UUID

import orjson

from service.delivery.subject import columns
from service.events.catalogue import ItemUpdated
from service.inventory import rules
from service.platform.ids import new_id
from service.platform.queries import Connection, load
from service.stock.item import Item, item_from_row, item_view

_STOCK = load("stock")
_MUTATION = load("mutation")


async def mutate(connection: Connection, item_id: UUID, actor_id: UUID, quantity: int | None = None) -> Item:
    """One transaction: lock, update, event, audit record. `quantity` is the new quantity. None
    chooses another one than the present."""
    async with connection.transaction():
        row = await _STOCK.lock.fetchrow(connection, id=item_id)
        assert row is not None, "items are not deleted here"
        before = item_from_row(row)
        if quantity is None:
            quantity = (before.quantity + random.randint(1, 999)) % 1000
        after = rules.edited_item(before, {"quantity": quantity})
        values = {name: getattr(after, name) for name in after.__slots__ if name not in ("created_at", "updated_at")}
        [row] = await _STOCK.update.fetch(
            connection, **values, delta=after.quantity - before.quantity, reason="counted", reference_id=None
        )
        saved = item_from_row(row)
        event = ItemUpdated(
            itemId=after.id,
            name=after.name,
            sku=after.sku,
            quantity=after.quantity,
            location_id=after.location_id,
            category_id=after.category_id,
            changes={"quantity": {"from": before.quantity, "to": after.quantity}},
        )
        subject = event.subject()
        event_id = new_id()
        await _MUTATION.insert_events.execute(
            connection,
            ids=[event_id],
            types=[event.type],
            datas=[subject.data],
            occurred_at=before.updated_at,
            traceparent=None,
            **columns([subject]),
        )
        await _MUTATION.insert_audit.execute(
            connection,
            actor_id=actor_id,
            action="update",
            entity="item",
            entity_id=item_id,
            before=orjson.dumps(item_view(before)).decode(),
            after=orjson.dumps(item_view(saved)).decode(),
            ip_address="127.0.0.1",
            request_id=str(event_id),
            event_ids=[event_id],
        )
    return saved
