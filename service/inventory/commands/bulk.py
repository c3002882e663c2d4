"""Many changes of items in one transaction, each by the command that a single request would use."""

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
    """`id` is None for a creation. `values` are what the command takes: all fields of a new item, those to change of another."""

    op: Literal["create", "update", "count"]
    id: UUID | None
    values: Mapping[str, Any]


class Refused(Exception):
    """The change at `index` cannot be done, so none was."""

    def __init__(self, index: int, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.index = index
        self.problem = problem


class _Undone(Exception):
    """Takes the transaction back."""


class _NoSavepoints(OneConnection):
    """For commands of which none may fail without the others: what they would take back, the whole transaction does."""

    def transaction(self, **_: object) -> Any:
        return nullcontext()


async def run_all(pool: Pool, origin: Origin, changes: Sequence[Change]) -> list[UUID]:
    """Does all changes in their order, and so are their events, and returns the items' ids. Raises Refused for the first that
    cannot be done. A savepoint for each of thousands would cost as much again, and slow down other readers of these tables."""
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
    """The same, and goes on after a refusal, which leaves nothing of its change behind. Returns for each the item's id, or why it
    was not done; a change that is a problem from the beginning stays one. With `all_or_none` a refusal takes the others back,
    too, and `dry_run` takes them back in any case."""
    # The condition of a request is about one object.
    origin = replace(origin, if_match=None)
    outcomes: list[UUID | Problem] = []
    async with pool.acquire() as connection:
        # The cast: commands use nothing of a pool that OneConnection has not.
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
    """All items at once in the order of their ids: two requests with the same items do not wait for each other."""
    named = [change.id for change in changes if change.id is not None]
    await ledger.lock_several(Mutation(connection, origin, "bulk"), named)


async def _tried(unit: Pool, origin: Origin, change: Change) -> UUID | Problem:
    try:
        return (await _done(unit, origin, change)).id
    except Problem as problem:
        # Its command's transaction, a savepoint here, has been taken back.
        return problem


async def _done(unit: Pool, origin: Origin, change: Change) -> Item:
    if change.id is None:
        return await items.create(unit, origin, change.values)
    return await items.edit(unit, origin, change.id, change.values, action=change.op)
