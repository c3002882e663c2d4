"""Many changes of items in one transaction. Each has the effect of the command that a request for
it alone would use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

from service.inventory.commands import items
from service.mutation import Mutation, Unclear, command
from service.platform.db import Pool
from service.platform.errors import Problem
from service.records import Origin
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

    def __init__(self, outcomes: list[UUID | Problem]) -> None:
        super().__init__()
        self.outcomes = outcomes


async def run_all(pool: Pool, origin: Origin, changes: Sequence[Change]) -> list[UUID]:
    """Does all changes and returns the items' ids. The events have the order of the changes. Raises
    Refused for the first change that cannot be done."""
    ids: list[UUID] = []
    for outcome in await _run(pool, origin, changes, all_or_none=True, dry_run=False, first_only=True):
        if isinstance(outcome, Problem):
            raise Refused(len(ids), outcome)
        ids.append(outcome)
    return ids


async def run(
    pool: Pool, origin: Origin, changes: Sequence[Change | Problem], *, all_or_none: bool, dry_run: bool = False
) -> list[UUID | Problem]:
    """The same, but goes on after a change that cannot be done. Nothing of such a change remains.

    Returns for each change the item's id, or the problem why it was not done. For a problem among
    `changes`, it returns this problem. With `all_or_none`, a single problem undoes all changes.
    With `dry_run`, all are undone in any case."""
    return await _run(pool, origin, changes, all_or_none=all_or_none, dry_run=dry_run, first_only=False)


async def _run(
    pool: Pool,
    origin: Origin,
    changes: Sequence[Change | Problem],
    *,
    all_or_none: bool,
    dry_run: bool,
    first_only: bool,
) -> list[UUID | Problem]:
    # If-Match concerns one object, and this request changes several.
    origin = replace(origin, if_match=None)
    try:
        try:
            return await _change(pool, origin, changes, all_or_none, dry_run, first_only, alone=False)
        except Unclear:
            return await _change(pool, origin, changes, all_or_none, dry_run, first_only, alone=True)
    except _Undone as undone:
        return undone.outcomes


@command("bulk")
async def _change(
    change: Mutation,
    changes: Sequence[Change | Problem],
    all_or_none: bool,
    dry_run: bool,
    first_only: bool,
    *,
    alone: bool,
) -> list[UUID | Problem]:
    """`alone` makes each change by itself, so that it is clear which cannot be done. `first_only`
    ends with the first that cannot."""
    # All items are locked at once, in the order of their ids. So two requests with the same items
    # cannot end in a deadlock.
    named = [wanted.id for wanted in changes if isinstance(wanted, Change) and wanted.id is not None]
    await ledger.lock_several(change, named)
    outcomes: list[UUID | Problem] = []
    for wanted in changes:
        outcomes.append(wanted if isinstance(wanted, Problem) else await _tried(change, wanted, alone=alone))
        if first_only and isinstance(outcomes[-1], Problem):
            raise _Undone(outcomes)
    await change.flush()
    if dry_run or (all_or_none and any(isinstance(outcome, Problem) for outcome in outcomes)):
        raise _Undone(outcomes)
    return outcomes


async def _tried(change: Mutation, wanted: Change, *, alone: bool) -> UUID | Problem:
    try:
        async with change.part(alone=alone):
            return (await _done(change, wanted)).id
    except Problem as problem:
        return problem


async def _done(change: Mutation, wanted: Change) -> Item:
    if wanted.id is None:
        return await items.made(change, wanted.values)
    return await items.edited(change, wanted.id, wanted.values, action=wanted.op)
