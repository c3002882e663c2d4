"""The commands of locations and their foremen."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg

from service.events.catalogue import LocationCreated, LocationDeleted, LocationUpdated
from service.events.changes import diff
from service.inventory import rules
from service.inventory.rows import location_from_row
from service.inventory.rules import Location, location_view
from service.mutation import Again, Mutation, Refusal, command
from service.platform.errors import Conflict, NotFound, Unprocessable
from service.platform.ids import new_id
from service.platform.queries import load

_SQL = load("locations")
ENTITY = "location"


@command("create")
async def create(change: Mutation, values: Mapping[str, Any]) -> Location:
    created = _new(change, **values)
    _make(change, created, lambda error: _refusal(error, created))
    return created


async def placed(change: Mutation, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an item, with `location_id` instead of `location_name`. If no location has the
    name, this mutation creates one. A name of None means no location.

    If both fields are given, they must mean the same location. Otherwise it raises Unprocessable.
    Beside a name of None, `location_id` counts."""
    fields = dict(values)
    if "location_name" not in fields:
        return fields
    name: str | None = fields.pop("location_name")
    if name is None:
        # A form sends both fields, and leaves the name empty.
        return {"location_id": None, **fields}
    location_id = await change.look_up(_SQL.find, name=name)
    if (given := fields.get("location_id")) is not None and given != location_id:
        raise Unprocessable.at("/location_name", f"{name} is not the name of the location that location_id names")
    if location_id is None:
        await change.begin()
        location_id = _make(change, _new(change, name=name, description=None, address=None), _overtaken)
    return fields | {"location_id": location_id}


def _new(change: Mutation, *, name: str, description: str | None, address: str | None) -> Location:
    return Location(new_id(), name, description, address, foremen=(), created_at=change.now, updated_at=change.now)


def _make(change: Mutation, location: Location, refused: Refusal) -> UUID:
    change.write(
        _SQL.insert,
        id=location.id,
        refused=refused,
        name=location.name,
        description=location.description,
        address=location.address,
        created_at=location.created_at,
    )
    change.emit(LocationCreated(locationId=location.id, name=location.name))
    change.audit(ENTITY, location.id, None, location_view(location))
    return location.id


def _overtaken(error: asyncpg.IntegrityConstraintViolationError) -> Exception:
    """Another mutation has just created a location of this name. So the command runs again, and
    finds it."""
    return Again() if isinstance(error, asyncpg.UniqueViolationError) else error


@command("update", of=0)
async def edit(change: Mutation, location_id: UUID, values: Mapping[str, Any]) -> Location:
    """`values` are the fields that the client sent. If they change nothing, nothing is written."""
    before = await _read(change, location_id)
    if replace(before, **values) == before:
        return before
    after = replace(before, **values, updated_at=change.later_than(before.updated_at))
    change.write(
        _SQL.update,
        refused=lambda error: _refusal(error, after),
        id=location_id,
        name=after.name,
        description=after.description,
        address=after.address,
        updated_at=after.updated_at,
    )
    _updated(change, before, after)
    return after


@command("delete", of=0)
async def delete(change: Mutation, location_id: UUID) -> None:
    await change.begin()
    location = await _read(change, location_id)
    # Meanwhile no item can be moved here, and no transfer or checkout with this location can be
    # requested. All of them need its row, which is locked here.
    rules.check_location_unused(
        has_items=await _SQL.has_items.fetchval(change, id=location_id),
        has_transfers=await _SQL.has_open_transfers.fetchval(change, id=location_id),
        has_checkouts=await _SQL.has_open_checkouts.fetchval(change, id=location_id),
    )
    change.write(_SQL.delete, id=location_id)
    change.emit(LocationDeleted(locationId=location_id, name=location.name))
    change.audit(ENTITY, location_id, location_view(location), None)


@command("add-foremen", of=0)
async def add_foremen(change: Mutation, location_id: UUID, user_ids: Collection[UUID]) -> Location:
    """Assigns these users to the location. Its other foremen remain."""
    await change.begin()
    before = await _read(change, location_id)
    rows = await _SQL.lock_roles.fetch(change, ids=list(user_ids))
    rules.check_foremen(user_ids, {row["id"]: row["role"] for row in rows})
    if set(user_ids) <= set(before.foremen):
        return before
    foremen = tuple(sorted({*before.foremen, *user_ids}))
    after = replace(before, foremen=foremen, updated_at=change.later_than(before.updated_at))
    change.write(_SQL.add_foremen, id=location_id, user_ids=list(user_ids), updated_at=after.updated_at)
    _updated(change, before, after)
    return after


@command("remove-foreman", of=0)
async def remove_foreman(change: Mutation, location_id: UUID, user_id: UUID) -> None:
    before = await _read(change, location_id)
    if user_id not in before.foremen:
        raise NotFound("this user is no foreman of the location")
    foremen = tuple(foreman for foreman in before.foremen if foreman != user_id)
    after = replace(before, foremen=foremen, updated_at=change.later_than(before.updated_at))
    change.write(_SQL.remove_foreman, id=location_id, user_id=user_id, updated_at=after.updated_at)
    _updated(change, before, after)


async def _read(change: Mutation, location_id: UUID) -> Location:
    """The location with its foremen. A mutation that changes its foremen changes its row, too.
    Raises NotFound, PreconditionFailed."""
    row = await change.read(_SQL.get, _SQL.lock, id=location_id)
    if row is None:
        raise NotFound("no location has this id")
    location = location_from_row(row)
    change.check_match(location_view(location))
    return location


def _updated(change: Mutation, before: Location, after: Location) -> None:
    old, new = location_view(before), location_view(after)
    change.emit(LocationUpdated(locationId=after.id, name=after.name, changes=diff(old, new)))
    change.audit(ENTITY, after.id, old, new)


def _refusal(error: asyncpg.IntegrityConstraintViolationError, location: Location) -> Exception:
    if isinstance(error, asyncpg.UniqueViolationError):
        return Conflict.at("/name", f"another location has the name {location.name}")
    return error
