"""The commands of transfers, from the request to the end. Each function is one transaction and
returns the transfer as it is afterwards.

Locks are taken in this order: first the transfer, then the location at which units arrive, then the
items in the order of their ids.
"""

from dataclasses import asdict, replace
from uuid import UUID

import asyncpg

from service.api.call import Principal
from service.mutation import Mutation, Origin, mutation
from service.platform.db import Pool
from service.platform.errors import NotFound, Unauthorized
from service.platform.ids import new_id
from service.platform.queries import load
from service.stock import arrivals, ledger
from service.stock.ledger import Reason
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
        items = await ledger.lock_several(change, [asked.item_id])
        known = await _SQL.keep_locations.fetch(change.connection, ids=list(places.values()))
        item = rules.check_known(items.get(asked.item_id), asked.item_id, places, [row["id"] for row in known])
        assigned = await _SQL.is_foreman.fetchval(
            change.connection, location_id=asked.from_location_id, user_id=user.user_id
        )
        rules.check_requester(user.role, assigned=assigned)
        reserved = rules.reserve(item, asked.from_location_id, asked.to_location_id, asked.quantity)
        try:
            [row] = await _SQL.insert.fetch(
                change.connection, id=new_id(), requested_by=user.user_id, **asked.model_dump()
            )
        except asyncpg.ForeignKeyViolationError:
            raise Unauthorized("the user was removed meanwhile") from None
        transfer = transfer_from_row(row)
        change.emit(event(transfer))
        await ledger.save(change, item, reserved)
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
    """Moves the units. The order of the events is transfer-completed, those of the item that the
    units left, those of the item that they joined."""
    async with mutation(pool, origin, "complete") as change:
        before = await _lock(change, transfer_id)
        rules.check_mover(user.role, user.user_id, before)
        after = rules.step(before, COMPLETED, completed_by=user.user_id, completed_at=change.now)
        item, there = await arrivals.lock(change, before.item_id, before.to_location_id)
        left = rules.depart(before, item, there)
        arrived = None if left.serial_number else arrivals.joined(item, there, before.to_location_id, before.quantity)
        moved_into = arrived or left
        stored = await _store(change, before, replace(after, to_item_id=moved_into.id))
        await ledger.save(change, item, left, reason=REASON, reference_id=transfer_id)
        if arrived is not None:
            await arrivals.store(change, there, arrived, reason=REASON, reference_id=transfer_id)
    return stored


async def _lock(change: Mutation, transfer_id: UUID) -> Transfer:
    row = await _SQL.lock.fetchrow(change.connection, id=transfer_id)
    if row is None:
        raise NotFound("no transfer has this id")
    transfer = transfer_from_row(row)
    change.check_match(view(transfer))
    return transfer


async def _store(change: Mutation, before: Transfer, after: Transfer) -> Transfer:
    values = {name: value for name, value in asdict(after).items() if name in _STEP}
    [row] = await _SQL.step.fetch(change.connection, **values)
    stored = transfer_from_row(row)
    change.emit(event(stored))
    change.audit(ENTITY, stored.id, view(before), view(stored))
    return stored


async def _release(change: Mutation, transfer: Transfer) -> None:
    item = await ledger.lock(change, transfer.item_id)
    await ledger.save(change, item, rules.release(item, transfer))
