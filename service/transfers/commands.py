"""Requesting transfers and leading them to their end. Each function is one transaction and returns the transfer as it is after it.

Locks are taken in this order: the transfer, the location at which units arrive, the items in the order of their ids.
"""

from dataclasses import asdict, replace
from uuid import UUID

from service import stock
from service.api.call import Principal
from service.mutation import Mutation, Origin, mutation
from service.platform.db import Pool
from service.platform.errors import Conflict, NotFound
from service.platform.ids import new_id
from service.platform.queries import load
from service.stock import Item, Reason
from service.transfers import rules
from service.transfers.models import TransferRequest
from service.transfers.rows import transfer_from_row
from service.transfers.rules import APPROVED, CANCELLED, COMPLETED, IN_TRANSIT, REJECTED, Transfer, event, view

_SQL = load("transfers")
_STEP = frozenset(_SQL.step.parameters)
ENTITY = "transfer"
REASON: Reason = "transfer"


async def request(pool: Pool, origin: Origin, user: Principal, asked: TransferRequest) -> Transfer:
    """Reserves the units."""
    places = {"from_location_id": asked.from_location_id, "to_location_id": asked.to_location_id}
    async with mutation(pool, origin, "request") as change:
        items = await stock.lock_several(change, [asked.item_id])
        known = await _SQL.keep_locations.fetch(change.connection, ids=list(places.values()))
        item = rules.check_known(items.get(asked.item_id), asked.item_id, places, [row["id"] for row in known])
        assigned = await _SQL.is_foreman.fetchval(
            change.connection, location_id=asked.from_location_id, user_id=user.user_id
        )
        rules.check_requester(user.role, assigned=assigned)
        reserved = rules.reserve(item, asked.from_location_id, asked.to_location_id, asked.quantity)
        [row] = await _SQL.insert.fetch(change.connection, id=new_id(), requested_by=user.user_id, **asked.model_dump())
        transfer = transfer_from_row(row)
        change.emit(event(transfer))
        await stock.save(change, item, reserved)
        change.audit(ENTITY, transfer.id, None, view(transfer))
    return transfer


async def approve(pool: Pool, origin: Origin, user: Principal, transfer_id: UUID) -> Transfer:
    async with mutation(pool, origin, "approve") as change:
        before = await _lock(change, transfer_id)
        after = rules.step(before, APPROVED, approved_by=user.user_id, approved_at=change.now)
        return await _store(change, before, after)


async def reject(pool: Pool, origin: Origin, user: Principal, transfer_id: UUID, reason: str | None) -> Transfer:
    async with mutation(pool, origin, "reject") as change:
        before = await _lock(change, transfer_id)
        after = rules.step(before, REJECTED, rejected_by=user.user_id, rejected_at=change.now, rejection_reason=reason)
        stored = await _store(change, before, after)
        await _release(change, stored)
    return stored


async def dispatch(pool: Pool, origin: Origin, user: Principal, transfer_id: UUID) -> Transfer:
    async with mutation(pool, origin, "dispatch") as change:
        before = await _lock(change, transfer_id)
        rules.check_mover(user.role, user.user_id, before)
        after = rules.step(before, IN_TRANSIT, dispatched_by=user.user_id, dispatched_at=change.now)
        return await _store(change, before, after)


async def cancel(pool: Pool, origin: Origin, user: Principal, transfer_id: UUID) -> Transfer:
    async with mutation(pool, origin, "cancel") as change:
        before = await _lock(change, transfer_id)
        rules.check_mover(user.role, user.user_id, before)
        after = rules.step(before, CANCELLED, cancelled_by=user.user_id, cancelled_at=change.now)
        stored = await _store(change, before, after)
        await _release(change, stored)
    return stored


async def complete(pool: Pool, origin: Origin, user: Principal, transfer_id: UUID) -> Transfer:
    """Moves the units. First comes transfer-completed, then what follows at the item they left, then at the one they joined."""
    async with mutation(pool, origin, "complete") as change:
        before = await _lock(change, transfer_id)
        rules.check_mover(user.role, user.user_id, before)
        after = rules.step(before, COMPLETED, completed_by=user.user_id, completed_at=change.now)
        item, there = await _lock_both(change, before)
        left, arrived = rules.move_units(before, item, there, new_id())
        moved_into = arrived or left
        stored = await _store(change, before, replace(after, to_item_id=moved_into.id))
        await stock.save(change, item, left, reason=REASON, reference_id=transfer_id)
        if arrived is not None:
            await _arrive(change, there, arrived, transfer_id)
    return stored


async def _lock(change: Mutation, transfer_id: UUID) -> Transfer:
    row = await _SQL.lock.fetchrow(change.connection, id=transfer_id)
    if row is None:
        raise NotFound("no transfer has this id")
    return transfer_from_row(row)


async def _store(change: Mutation, before: Transfer, after: Transfer) -> Transfer:
    values = {name: value for name, value in asdict(after).items() if name in _STEP}
    [row] = await _SQL.step.fetch(change.connection, **values)
    stored = transfer_from_row(row)
    change.emit(event(stored))
    change.audit(ENTITY, stored.id, view(before), view(stored))
    return stored


async def _release(change: Mutation, transfer: Transfer) -> None:
    item = await stock.lock(change, transfer.item_id)
    await stock.save(change, item, rules.release(item, transfer))


async def _lock_both(change: Mutation, transfer: Transfer) -> tuple[Item, Item | None]:
    """The item, and the one at the destination that its units belong into."""
    await _SQL.lock_arrivals.fetchrow(change.connection, location_id=transfer.to_location_id)
    there_id = await _match(change, transfer)
    items = await stock.lock_several(change, [transfer.item_id, *([there_id] if there_id else [])])
    # Locking may have had to wait, and both items may have been edited meanwhile. What is locked now stays as it is.
    if there_id != await _match(change, transfer):
        raise _overtaken()
    return items[transfer.item_id], items[there_id] if there_id else None


async def _match(change: Mutation, transfer: Transfer) -> UUID | None:
    found: UUID | None = await _SQL.match.fetchval(
        change.connection, item_id=transfer.item_id, location_id=transfer.to_location_id
    )
    return found


async def _arrive(change: Mutation, there: Item | None, arrived: Item, transfer_id: UUID) -> None:
    if there is not None:
        await stock.save(change, there, arrived, reason=REASON, reference_id=transfer_id)
        return
    try:
        await stock.create(change, arrived, reason=REASON, reference_id=transfer_id)
    except Conflict:
        # Somebody has created an item of this sku there since it was looked for.
        raise _overtaken() from None


def _overtaken() -> Conflict:
    return Conflict("somebody else changed the items at the destination at the same moment; try again")
