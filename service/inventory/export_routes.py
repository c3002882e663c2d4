"""The export of items as a CSV file. It is sent while the items are read. No connection is held
between two pieces."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from service.api.admission import PART_WAIT_SECONDS, part_of
from service.api.call import Call, Nothing, Reply
from service.api.slices import in_slices
from service.inventory import lists, sheet
from service.inventory.models import ItemFilters
from service.platform.db import Pool
from service.stock.item import Item

# How many items a piece of the file has.
PIECE = 500


async def export_items(call: Call[Nothing, ItemFilters]) -> Reply:
    headers = {"Content-Disposition": 'attachment; filename="items.csv"', "Cache-Control": "no-store"}
    return Reply(_pieces(call), headers=headers)


async def _pieces(call: Call[Nothing, ItemFilters]) -> AsyncIterator[bytes]:
    def admitted() -> AbstractAsyncContextManager[Pool]:
        return part_of(call, wait_seconds=None if head else PART_WAIT_SECONDS)

    head = sheet.written([sheet.COLUMNS])
    async for ids in lists.stretches(admitted, call.user, call.query):
        for start in range(0, len(ids), PIECE):
            yield head + await _piece(call, ids[start : start + PIECE])
            head = b""
    yield head


async def _piece(call: Call[Nothing, ItemFilters], ids: Sequence[UUID]) -> bytes:
    items = await lists.read(call.pool, ids)
    return b"".join(await in_slices(items, _line))


def _line(item: Item) -> bytes:
    shown = {**item.view, "attributes": item.attributes}
    return sheet.written([["" if shown[name] is None else str(shown[name]) for name in sheet.COLUMNS]])
