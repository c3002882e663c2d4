"""The commands of categories. Each is one transaction."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg

from service.events.catalogue import CategoryCreated, CategoryDeleted, CategoryUpdated
from service.events.changes import diff
from service.inventory import rules
from service.inventory.rows import category_from_row
from service.inventory.rules import Category, category_view
from service.mutation import Mutation, Origin, mutation
from service.platform.db import Pool
from service.platform.errors import BadRequest, Conflict, NotFound, Problem
from service.platform.ids import new_id
from service.platform.queries import load

_SQL = load("categories")
_REFUSED_BY_DATABASE = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
ENTITY = "category"


async def create(pool: Pool, origin: Origin, values: Mapping[str, Any]) -> Category:
    async with mutation(pool, origin, "create") as change:
        try:
            [row] = await _SQL.insert.fetch(change.connection, id=new_id(), **values)
        except _REFUSED_BY_DATABASE as error:
            raise _refusal(error, values["name"], values["parent_id"]) from None
        if values["parent_id"] is not None:
            # A mutation that changes parents locks the tree, and that lock waits for this insert.
            # So after the insert no other mutation can make the line longer.
            line = await _SQL.with_ancestors.fetch(change.connection, id=values["parent_id"])
            rules.check_parent(row["id"], {ancestor["id"] for ancestor in line}, levels=1)
        created = category_from_row(row)
        change.emit(CategoryCreated(categoryId=created.id, name=created.name, parent_id=created.parent_id))
        change.audit(ENTITY, created.id, None, category_view(created))
    return created


async def edit(pool: Pool, origin: Origin, category_id: UUID, values: Mapping[str, Any]) -> Category:
    """`values` are the fields that the client sent. If they change nothing, nothing is written."""
    async with mutation(pool, origin, "update") as change:
        before = await _lock(change, category_id)
        after = replace(before, **values)
        if after == before:
            return before
        if after.parent_id is not None and after.parent_id != before.parent_id:
            line = await _SQL.with_ancestors.fetch(change.connection, id=after.parent_id)
            levels = await _SQL.levels.fetchval(change.connection, id=category_id, most=rules.MAX_DEPTH)
            rules.check_parent(category_id, {row["id"] for row in line}, levels)
        try:
            [row] = await _SQL.update.fetch(
                change.connection,
                id=category_id,
                name=after.name,
                description=after.description,
                parent_id=after.parent_id,
            )
        except _REFUSED_BY_DATABASE as error:
            raise _refusal(error, after.name, after.parent_id) from None
        after = category_from_row(row)
        old, new = category_view(before), category_view(after)
        change.emit(
            CategoryUpdated(categoryId=category_id, name=after.name, parent_id=after.parent_id, changes=diff(old, new))
        )
        change.audit(ENTITY, category_id, old, new)
    return after


async def delete(pool: Pool, origin: Origin, category_id: UUID) -> None:
    async with mutation(pool, origin, "delete") as change:
        category = await _lock(change, category_id)
        # No item and no category can be put into this one meanwhile. Their foreign keys need its
        # row, which is locked here.
        [used] = await _SQL.is_used.fetch(change.connection, id=category_id)
        rules.check_category_unused(by_items=used["by_items"], by_categories=used["by_categories"])
        await _SQL.delete.execute(change.connection, id=category_id)
        change.emit(CategoryDeleted(categoryId=category_id, name=category.name, parent_id=category.parent_id))
        change.audit(ENTITY, category_id, category_view(category), None)


async def _lock(change: Mutation, category_id: UUID) -> Category:
    # Every change locks the tree first and then the row. Changes with different orders could end in
    # a deadlock.
    await _SQL.lock_tree.execute(change.connection)
    row = await _SQL.lock.fetchrow(change.connection, id=category_id)
    if row is None:
        raise NotFound("no category has this id")
    category = category_from_row(row)
    change.check_match(category_view(category))
    return category


def _refusal(error: asyncpg.PostgresError, name: str, parent_id: UUID | None) -> Problem | asyncpg.PostgresError:
    match error.constraint_name:
        case "categories_name_key":
            return Conflict.at("/name", f"another category at this place of the tree has the name {name}")
        case "categories_parent_id_fkey":
            return BadRequest.at("/parent_id", f"no category has the id {parent_id}")
    return error
