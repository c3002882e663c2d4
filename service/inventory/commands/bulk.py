"""Many changes of items in one transaction. Each is done by the command that a request for it alone
would use."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, cast
from uuid import UUID

from service.api.one_connection import OneConnection
from service.inventory.commands import items
from service.mutation import Mutation, Origin
from service.platform.db import Pool
from service.platform.errors import Problem
from service.platform.queries import Connection
from service.stock import ledger
from service.stock.item import Item


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an item. `id` is None if the item is new. `values` are all fields of a new
    item, or the fields to change."""

    op: Literal["create", "update", "count"]
    id: UUID | None
    values: Mapping[str, Any]


class Refused(Exception):
    """The change at `index` cannot be done, so none was done."""

    def __init__(self, index: int, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.index = index
        self.problem = problem


class _Undone(Exception):
    """Rolls the transaction back."""


class _NoSavepoints(OneConnection):
    """A connection for commands of which all succeed or none. A command needs no savepoint there,
    because its failure rolls the whole transaction back."""

    def transaction(self, **_: object) -> Any:
        return nullcontext()


async def run_all(pool: Pool, origin: Origin, changes: Sequence[Change]) -> list[UUID]:
    """Does all changes and returns the items' ids. The events have the order of the changes. Raises
    Refused for the first change that cannot be done.

    There are no savepoints. One for each of thousands of changes would double the cost, and slow
    down other readers of these tables."""
    origin = replace(origin, if_match=None)
    ids: list[UUID] = []
    async with pool.acquire() as connection, connection.transaction():
        await _lock(connection, origin, changes)
        unit = cast(Pool, _NoSavepoints(connection))
        for change in changes:
            try:
                ids.append((await _done(unit, origin, change)).id)
            except Problem as problem:
                raise Refused(len(ids), problem) from None
    return ids


async def run(
    pool: Pool, origin: Origin, changes: Sequence[Change | Problem], *, all_or_none: bool, dry_run: bool = False
) -> list[UUID | Problem]:
    """The same, but goes on after a change that cannot be done. Nothing of such a change remains.

    Returns for each change the item's id, or the problem why it was not done. For a problem among
    `changes`, it returns this problem. With `all_or_none`, a single problem undoes all changes.
    With `dry_run`, all are undone in any case."""
    # If-Match concerns one object, and this request changes several.
    origin = replace(origin, if_match=None)
    outcomes: list[UUID | Problem] = []
    async with pool.acquire() as connection:
        # The cast is right, because commands use nothing of a pool that OneConnection lacks.
        unit = cast(Pool, OneConnection(connection))
        try:
            async with connection.transaction():
                await _lock(connection, origin, [change for change in changes if isinstance(change, Change)])
                for change in changes:
                    outcome = change if isinstance(change, Problem) else await _tried(unit, origin, change)
                    outcomes.append(outcome)
                if dry_run or (all_or_none and any(isinstance(outcome, Problem) for outcome in outcomes)):
                    raise _Undone
        except _Undone:
            pass
    return outcomes


async def _lock(connection: Connection, origin: Origin, changes: Iterable[Change]) -> None:
    """Locks all items at once, in the order of their ids. So two requests with the same items
    cannot end in a deadlock."""
    named = [change.id for change in changes if change.id is not None]
    await ledger.lock_several(Mutation(connection, origin, "bulk"), named)


async def _tried(unit: Pool, origin: Origin, change: Change) -> UUID | Problem:
    try:
        return (await _done(unit, origin, change)).id
    except Problem as problem:
        # The transaction of the command is a savepoint here, and has been rolled back.
        return problem


async def _done(unit: Pool, origin: Origin, change: Change) -> Item:
    if change.id is None:
        return await items.create(unit, origin, change.values)
    return await items.edit(unit, origin, change.id, change.values, action=change.op)
