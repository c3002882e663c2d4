"""The commands of transfers, from the request to the end. Each returns the transfer as it is
afterwards.

Locks are taken in this order: first the transfer, then the location at which units arrive, then the
items in the order of their ids.
"""

from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import asyncpg

from service.api.call import Principal
from service.mutation import Mutation, command
from service.platform.errors import NotFound, Unauthorized
from service.platform.ids import new_id
from service.platform.queries import load
from service.stock import arrivals, ledger
from service.stock.ledger import Reason
from service.transfers import rules
from service.transfers.models import TransferRequest
from service.transfers.rows import transfer_from_row
from service.transfers.rules import APPROVED, CANCELLED, COMPLETED, IN_TRANSIT, PENDING, REJECTED, Transfer, event, view

_SQL = load("transfers")
_NEW = frozenset(_SQL.insert.parameters)
_STEP = frozenset(_SQL.step.parameters)
ENTITY = "transfer"
REASON: Reason = "transfer"


@command("request")
async def request(change: Mutation, user: Principal, asked: TransferRequest) -> Transfer:
    """Reserves the units."""
    places = {"from_location_id": asked.from_location_id, "to_location_id": asked.to_location_id}
    items = await ledger.lock_several(change, [asked.item_id])
    known = await _SQL.keep_locations.fetch(change, ids=list(places.values()))
    item = rules.check_known(items.get(asked.item_id), asked.item_id, places, [row["id"] for row in known])
    assigned = await _SQL.is_foreman.fetchval(change, location_id=asked.from_location_id, user_id=user.user_id)
    rules.check_requester(user.role, assigned=assigned)
    reserved = rules.reserve(item, asked.from_location_id, asked.to_location_id, asked.quantity)
    transfer = Transfer(
        id=new_id(),
        status=PENDING,
        requested_by=user.user_id,
        created_at=change.now,
        updated_at=change.now,
        **asked.model_dump(),
    )
    change.write(_SQL.insert, refused=_refusal, **_columns(transfer, _NEW))
    change.emit(event(transfer))
    ledger.save(change, item, reserved)
    change.audit(ENTITY, transfer.id, None, view(transfer))
    return transfer


@command("approve", of=1)
async def approve(change: Mutation, user: Principal, transfer_id: UUID) -> Transfer:
    before = await _read(change, transfer_id)
    return _store(change, before, rules.step(before, APPROVED, approved_by=user.user_id, approved_at=change.now))


@command("reject", of=1)
async def reject(change: Mutation, user: Principal, transfer_id: UUID, reason: str | None) -> Transfer:
    await change.begin()
    before = await _read(change, transfer_id)
    after = rules.step(before, REJECTED, rejected_by=user.user_id, rejected_at=change.now, rejection_reason=reason)
    stored = _store(change, before, after)
    await _release(change, stored)
    return stored


@command("dispatch", of=1)
async def dispatch(change: Mutation, user: Principal, transfer_id: UUID) -> Transfer:
    before = await _read(change, transfer_id)
    rules.check_mover(user.role, user.user_id, before)
    after = rules.step(before, IN_TRANSIT, dispatched_by=user.user_id, dispatched_at=change.now)
    return _store(change, before, after)


@command("cancel", of=1)
async def cancel(change: Mutation, user: Principal, transfer_id: UUID) -> Transfer:
    await change.begin()
    before = await _read(change, transfer_id)
    rules.check_mover(user.role, user.user_id, before)
    stored = _store(change, before, rules.step(before, CANCELLED, cancelled_by=user.user_id, cancelled_at=change.now))
    await _release(change, stored)
    return stored


@command("complete", of=1)
async def complete(change: Mutation, user: Principal, transfer_id: UUID) -> Transfer:
    """Moves the units. The order of the events is transfer-completed, those of the item that the
    units left, those of the item that they joined."""
    await change.begin()
    before = await _read(change, transfer_id)
    rules.check_mover(user.role, user.user_id, before)
    after = rules.step(before, COMPLETED, completed_by=user.user_id, completed_at=change.now)
    item, there = await arrivals.lock(change, before.item_id, before.to_location_id)
    left = rules.depart(before, item, there)
    arrived = None if left.serial_number else arrivals.joined(item, there, before.to_location_id, before.quantity)
    moved_into = arrived or left
    stored = _store(change, before, replace(after, to_item_id=moved_into.id))
    ledger.save(change, item, left, reason=REASON, reference_id=transfer_id)
    if arrived is not None:
        arrivals.store(change, there, arrived, reason=REASON, reference_id=transfer_id)
    return stored


async def _read(change: Mutation, transfer_id: UUID) -> Transfer:
    row = await change.read(_SQL.get_to_change, _SQL.lock, id=transfer_id)
    if row is None:
        raise NotFound("no transfer has this id")
    transfer = transfer_from_row(row)
    change.check_match(view(transfer))
    return transfer


def _store(change: Mutation, before: Transfer, after: Transfer) -> Transfer:
    stored = replace(after, updated_at=change.later_than(before.updated_at))
    change.write(_SQL.step, **_columns(stored, _STEP))
    change.emit(event(stored))
    change.audit(ENTITY, stored.id, view(before), view(stored))
    return stored


async def _release(change: Mutation, transfer: Transfer) -> None:
    item = await ledger.read(change, transfer.item_id)
    ledger.save(change, item, rules.release(item, transfer))


def _columns(transfer: Transfer, names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in asdict(transfer).items() if name in names}


def _refusal(error: asyncpg.IntegrityConstraintViolationError) -> Exception:
    """The item and the locations are locked, so only the user can be missing."""
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return Unauthorized("the user was removed meanwhile")
    return error
