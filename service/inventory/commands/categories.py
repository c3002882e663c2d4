"""The commands of categories."""

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
from service.mutation import Mutation, command
from service.platform.errors import BadRequest, Conflict, NotFound
from service.platform.ids import new_id
from service.platform.queries import load

_SQL = load("categories")
ENTITY = "category"


@command("create")
async def create(change: Mutation, values: Mapping[str, Any]) -> Category:
    created = Category(id=new_id(), **values, created_at=change.now, updated_at=change.now)
    change.write(
        _SQL.insert,
        refused=lambda error: _refusal(error, created),
        id=created.id,
        name=created.name,
        description=created.description,
        parent_id=created.parent_id,
        created_at=created.created_at,
    )
    if created.parent_id is not None:
        # A mutation that changes parents locks the tree, and that lock waits for this insert.
        # So after the insert no other mutation can make the line longer.
        line = await _SQL.with_ancestors.fetch(change, id=created.parent_id)
        rules.check_parent(created.id, {ancestor["id"] for ancestor in line}, levels=1)
    change.emit(CategoryCreated(categoryId=created.id, name=created.name, parent_id=created.parent_id))
    change.audit(ENTITY, created.id, None, category_view(created))
    return created


@command("update", of=0)
async def edit(change: Mutation, category_id: UUID, values: Mapping[str, Any]) -> Category:
    """`values` are the fields that the client sent. If they change nothing, nothing is written."""
    before = await _read(change, category_id, with_tree=values.get("parent_id") is not None)
    if replace(before, **values) == before:
        return before
    after = replace(before, **values, updated_at=change.later_than(before.updated_at))
    if after.parent_id is not None and after.parent_id != before.parent_id:
        line = await _SQL.with_ancestors.fetch(change, id=after.parent_id)
        levels = await _SQL.levels.fetchval(change, id=category_id, most=rules.MAX_DEPTH)
        rules.check_parent(category_id, {row["id"] for row in line}, levels)
    change.write(
        _SQL.update,
        refused=lambda error: _refusal(error, after),
        id=category_id,
        name=after.name,
        description=after.description,
        parent_id=after.parent_id,
        updated_at=after.updated_at,
    )
    old, new = category_view(before), category_view(after)
    change.emit(
        CategoryUpdated(categoryId=category_id, name=after.name, parent_id=after.parent_id, changes=diff(old, new))
    )
    change.audit(ENTITY, category_id, old, new)
    return after


@command("delete", of=0)
async def delete(change: Mutation, category_id: UUID) -> None:
    category = await _read(change, category_id, with_tree=True)
    # No item and no category can be put into this one meanwhile. Their foreign keys need its row,
    # which is locked here.
    used = await _SQL.is_used.fetchrow(change, id=category_id)
    assert used is not None, "it returns one row"
    rules.check_category_unused(by_items=used["by_items"], by_categories=used["by_categories"])
    change.write(_SQL.delete, id=category_id)
    change.emit(CategoryDeleted(categoryId=category_id, name=category.name, parent_id=category.parent_id))
    change.audit(ENTITY, category_id, category_view(category), None)


async def _read(change: Mutation, category_id: UUID, *, with_tree: bool) -> Category:
    """The category. `with_tree` locks the tree, too. Raises NotFound, PreconditionFailed."""
    if with_tree or change.locks:
        # Every transaction locks the tree first and then the row. With different orders, two of
        # them could wait for each other.
        await _SQL.lock_tree.execute(change)
    row = await change.read(_SQL.get, _SQL.lock, id=category_id)
    if row is None:
        raise NotFound("no category has this id")
    category = category_from_row(row)
    change.check_match(category_view(category))
    return category


def _refusal(error: asyncpg.IntegrityConstraintViolationError, category: Category) -> Exception:
    match error.constraint_name:
        case "categories_name_key":
            return Conflict.at("/name", f"another category at this place of the tree has the name {category.name}")
        case "categories_parent_id_fkey":
            return BadRequest.at("/parent_id", f"no category has the id {category.parent_id}")
    return error
