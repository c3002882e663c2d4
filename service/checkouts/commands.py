"""Checking units of an item out and in. Each command is one transaction.

Locks are taken in this order: first the location at which units arrive, then the items in the order
of their ids, then the checkout.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import asyncpg

from service.api.call import Principal
from service.checkouts import rules
from service.checkouts.models import Checkin
from service.checkouts.rows import checkout_from_row
from service.checkouts.rules import ACTIVE, Checkout, checkout_view
from service.events.catalogue import CheckoutCancelled, CheckoutRejected, ItemCheckin, ItemCheckout
from service.mutation import Mutation, command
from service.platform.errors import BadRequest, NotFound, Problem, Unauthorized
from service.platform.ids import new_id
from service.platform.queries import load
from service.stock import arrivals, ledger
from service.stock.item import Item

_SQL = load("checkouts")
ENTITY = "checkout"
Check = Callable[[Checkout], None]


@command("checkout")
async def check_out(change: Mutation, user: Principal, values: Mapping[str, Any]) -> Checkout:
    """Creates a checkout. `values` are all the fields of a request. An admin's checkout is active
    at once. Any other waits for authorisation."""
    checkout_id, status = new_id(), rules.first_status(user.role)
    holder = values["user_id"] or user.user_id
    rules.check_may_hand_out(user.role, user.user_id, holder)
    await change.begin()
    try:
        item = await ledger.read(change, values["item_id"])
    except NotFound:
        raise BadRequest.at("/item_id", f"no item has the id {values['item_id']}") from None
    readable = user.role != rules.FOREMAN or await _SQL.is_readable.fetchval(
        change, location_id=item.location_id, foreman_id=user.user_id
    )
    rules.check_item_readable(readable=readable)
    rules.check_return_date(values["expected_return_date"], change.now.date())
    rules.check_lendable(item, values["quantity"])
    authorized_by = user.user_id if status == ACTIVE else None
    try:
        await _SQL.insert.execute(
            change,
            **{**values, "user_id": holder},
            id=checkout_id,
            requested_by=user.user_id,
            status=status,
            authorized_by=authorized_by,
        )
    except asyncpg.ForeignKeyViolationError as error:
        raise _refusal(error, user.user_id, holder, values["destination_location_id"]) from None
    created = await _get(change, checkout_id)
    change.audit(ENTITY, checkout_id, None, checkout_view(created))
    _emit(change, ItemCheckout, item, created)
    if created.status == ACTIVE:
        _lend(change, item, created)
    return created


@command("authorize", of=1)
async def authorize(change: Mutation, user: Principal, checkout_id: UUID) -> Checkout:
    item, before = await _lock(change, checkout_id, rules.check_waits)
    await _SQL.authorize.execute(change, id=checkout_id, by=user.user_id)
    after = await _changed(change, before)
    _emit(change, ItemCheckout, item, after)
    _lend(change, item, after)
    return after


@command("reject", of=1)
async def reject(change: Mutation, user: Principal, checkout_id: UUID) -> Checkout:
    item, before = await _lock(change, checkout_id, rules.check_waits)
    await _SQL.reject.execute(change, id=checkout_id, by=user.user_id)
    after = await _changed(change, before)
    _emit(change, CheckoutRejected, item, after)
    return after


@command("cancel", of=1)
async def cancel(change: Mutation, user: Principal, checkout_id: UUID) -> Checkout:
    def check(checkout: Checkout) -> None:
        rules.check_may_cancel(user.role, user.user_id, checkout)
        rules.check_waits(checkout)

    item, before = await _lock(change, checkout_id, check)
    await _SQL.cancel.execute(change, id=checkout_id, by=user.user_id)
    after = await _changed(change, before)
    _emit(change, CheckoutCancelled, item, after)
    return after


@command("checkin", of=1)
async def check_in(change: Mutation, user: Principal, checkout_id: UUID, back: Checkin) -> Checkout:
    def check(checkout: Checkout) -> None:
        rules.check_may_return(user.role, user.user_id, checkout)
        rules.check_active(checkout)

    item, there, before = await _lock_for_return(change, checkout_id, check, back.location_id)
    units = rules.units_back(before, back.quantity)
    place = back.location_id or item.location_id
    change.emit(
        ItemCheckin(
            checkoutId=checkout_id,
            itemId=item.id,
            quantity=units,
            userId=before.user_id,
            returnedBy=user.user_id,
            returnLocation=place,
        ),
        location_ids=_places(item.location_id, before.destination_location_id, place),
    )
    kept = _take_back(change, item, there, units, back.location_id, checkout_id)
    await _SQL.check_in.execute(
        change,
        id=checkout_id,
        quantity=units,
        by=user.user_id,
        item_id=kept.id,
        location_id=place,
        notes=back.notes,
    )
    if rules.is_checked_out(item) and kept.id != item.id:
        await _settle(change, item, checkout_id)
    return await _changed(change, before)


async def _lock(change: Mutation, checkout_id: UUID, check: Check) -> tuple[Item, Checkout]:
    """The item and the checkout. No other mutation can change them until this one ends. Raises what
    `check` raises."""
    item, _, checkout = await _lock_for_return(change, checkout_id, check, None)
    return item, checkout


async def _lock_for_return(
    change: Mutation, checkout_id: UUID, check: Check, location_id: UUID | None
) -> tuple[Item, Item | None, Checkout]:
    """The same, and the item at `location_id` that the units join, if there is one."""
    # The check also comes before the locks: if the checkout has ended, its item may be deleted.
    seen = await _get(change, checkout_id)
    check(seen)
    if location_id is None:
        item, there = await ledger.read(change, seen.item_id), None
    else:
        item, there = await arrivals.lock(change, seen.item_id, location_id)
    await _SQL.lock.execute(change, id=checkout_id)
    checkout = await _get(change, checkout_id)
    check(checkout)
    change.check_match(checkout_view(checkout))
    return item, there, checkout


def _take_back(
    change: Mutation, item: Item, there: Item | None, units: int, location_id: UUID | None, checkout_id: UUID
) -> Item:
    """Puts the units back, and returns the item that they are in now."""
    if rules.comes_back_itself(item, location_id):
        after = rules.given_back(item, units, location_id)
        return ledger.save(change, item, after, reason="checkin", reference_id=checkout_id)
    assert location_id is not None, "units without a place come back to their item"
    arrived = arrivals.joined(item, there, location_id, units)
    return arrivals.store(change, there, arrived, reason="checkin", reference_id=checkout_id)


async def _settle(change: Mutation, item: Item, checkout_id: UUID) -> None:
    """Makes the item available if no checkout of it is active. Its last units came back to another
    location, so they did not join the item itself."""
    if not await _SQL.any_out.fetchval(change, item_id=item.id):
        ledger.save(change, item, rules.no_longer_out(item), reason="checkin", reference_id=checkout_id)


async def _get(change: Mutation, checkout_id: UUID) -> Checkout:
    row = await _SQL.get.fetchrow(change, id=checkout_id)
    if row is None:
        raise NotFound("no checkout has this id")
    return checkout_from_row(row)


async def _changed(change: Mutation, before: Checkout) -> Checkout:
    """The checkout as it is now. Writes the change from `before` to the audit trail."""
    after = await _get(change, before.id)
    change.audit(ENTITY, after.id, checkout_view(before), checkout_view(after))
    return after


def _lend(change: Mutation, item: Item, checkout: Checkout) -> None:
    ledger.save(change, item, rules.lent(item, checkout.quantity), reason="checkout", reference_id=checkout.id)


def _refusal(error: asyncpg.PostgresError, by: UUID, holder: UUID, place: UUID | None) -> Problem:
    """The problem for a foreign key that a request violates. It is not that of the item, which is
    locked and so exists."""
    if error.constraint_name == "checkouts_open_destination_id_fkey":
        return BadRequest.at("/destination_location_id", f"no location has the id {place}")
    if error.constraint_name == "checkouts_open_user_id_fkey" and holder != by:
        return BadRequest.at("/user_id", f"no user has the id {holder}")
    return Unauthorized("the user was removed meanwhile")


def _emit(change: Mutation, event: type[ItemCheckout], item: Item, checkout: Checkout) -> None:
    change.emit(
        event(
            checkoutId=checkout.id,
            itemId=checkout.item_id,
            quantity=checkout.quantity,
            userId=checkout.user_id,
            status=checkout.status,
            destinationLocation=checkout.destination_location_id,
            projectId=checkout.project_id,
            requestedBy=checkout.requested_by,
        ),
        location_ids=_places(item.location_id, checkout.destination_location_id),
    )


def _places(*location_ids: UUID | None) -> list[UUID]:
    """The locations that an event of a checkout concerns. Its data does not name the item's
    location."""
    return [location_id for location_id in location_ids if location_id is not None]
