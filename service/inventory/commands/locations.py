"""The commands of locations and their foremen. Each is one transaction."""

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
from service.mutation import Mutation, Origin, mutation
from service.platform.db import Pool
from service.platform.errors import Conflict, NotFound, Unprocessable
from service.platform.ids import new_id
from service.platform.queries import Connection, load

_SQL = load("locations")
ENTITY = "location"


async def create(pool: Pool, origin: Origin, values: Mapping[str, Any]) -> Location:
    async with mutation(pool, origin, "create") as change:
        created = await _made(change, values)
        if created is None:
            raise _name_taken(values["name"])
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
    location_id = await _SQL.find.fetchval(change.connection, name=name)
    if (given := fields.get("location_id")) is not None and given != location_id:
        raise Unprocessable.at("/location_name", f"{name} is not the name of the location that location_id names")
    if location_id is None:
        made = await _made(change, {"name": name, "description": None, "address": None})
        # Another mutation may have created it meanwhile. Then the name is taken.
        location_id = made.id if made else await _SQL.find.fetchval(change.connection, name=name)
    return fields | {"location_id": location_id}


async def _made(change: Mutation, values: Mapping[str, Any]) -> Location | None:
    """Creates a location. Returns None if its name is taken."""
    location_id = await _SQL.insert.fetchval(change.connection, id=new_id(), **values)
    if location_id is None:
        return None
    created = await _get(change.connection, location_id)
    change.emit(LocationCreated(locationId=location_id, name=created.name))
    change.audit(ENTITY, location_id, None, location_view(created))
    return created


async def edit(pool: Pool, origin: Origin, location_id: UUID, values: Mapping[str, Any]) -> Location:
    """`values` are the fields that the client sent. If they change nothing, nothing is written."""
    async with mutation(pool, origin, "update") as change:
        before = await _lock(change, location_id)
        after = replace(before, **values)
        if after == before:
            return before
        try:
            await _SQL.update.execute(
                change.connection,
                id=location_id,
                name=after.name,
                description=after.description,
                address=after.address,
            )
        except asyncpg.UniqueViolationError:
            raise _name_taken(after.name) from None
        return await _updated(change, before)


async def delete(pool: Pool, origin: Origin, location_id: UUID) -> None:
    async with mutation(pool, origin, "delete") as change:
        location = await _lock(change, location_id)
        # Meanwhile no item can be moved here, and no transfer or checkout with this location can be
        # requested. All of them need its row, which is locked here.
        rules.check_location_unused(
            has_items=await _SQL.has_items.fetchval(change.connection, id=location_id),
            has_transfers=await _SQL.has_open_transfers.fetchval(change.connection, id=location_id),
            has_checkouts=await _SQL.has_open_checkouts.fetchval(change.connection, id=location_id),
        )
        await _SQL.delete.execute(change.connection, id=location_id)
        change.emit(LocationDeleted(locationId=location_id, name=location.name))
        change.audit(ENTITY, location_id, location_view(location), None)


async def add_foremen(pool: Pool, origin: Origin, location_id: UUID, user_ids: Collection[UUID]) -> Location:
    """Assigns these users to the location. Its other foremen remain."""
    async with mutation(pool, origin, "add-foremen") as change:
        before = await _lock(change, location_id)
        rows = await _SQL.lock_roles.fetch(change.connection, ids=list(user_ids))
        rules.check_foremen(user_ids, {row["id"]: row["role"] for row in rows})
        if set(user_ids) <= set(before.foremen):
            return before
        await _SQL.add_foremen.execute(change.connection, id=location_id, user_ids=list(user_ids))
        await _SQL.touch.execute(change.connection, id=location_id)
        return await _updated(change, before)


async def remove_foreman(pool: Pool, origin: Origin, location_id: UUID, user_id: UUID) -> None:
    async with mutation(pool, origin, "remove-foreman") as change:
        before = await _lock(change, location_id)
        if user_id not in before.foremen:
            raise NotFound("this user is no foreman of the location")
        await _SQL.remove_foreman.execute(change.connection, id=location_id, user_id=user_id)
        await _SQL.touch.execute(change.connection, id=location_id)
        await _updated(change, before)


async def _lock(change: Mutation, location_id: UUID) -> Location:
    """Locks the location and returns it. A mutation that changes its foremen takes the same lock
    first. Raises NotFound, PreconditionFailed."""
    await _SQL.lock.fetchrow(change.connection, id=location_id)
    location = await _get(change.connection, location_id)
    change.check_match(location_view(location))
    return location


async def _get(connection: Connection, location_id: UUID) -> Location:
    row = await _SQL.get.fetchrow(connection, id=location_id)
    if row is None:
        raise NotFound("no location has this id")
    return location_from_row(row)


async def _updated(change: Mutation, before: Location) -> Location:
    after = await _get(change.connection, before.id)
    old, new = location_view(before), location_view(after)
    change.emit(LocationUpdated(locationId=after.id, name=after.name, changes=diff(old, new)))
    change.audit(ENTITY, after.id, old, new)
    return after


def _name_taken(name: str) -> Conflict:
    return Conflict.at("/name", f"another location has the name {name}")
