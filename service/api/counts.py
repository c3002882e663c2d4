"""Counts the rows of a list, but no further than a client needs to know."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import asyncpg

from service.platform.queries import Connection, Statement

# A count is exact up to this number. Counting a million rows would take a tenth of a second of CPU
# for each page.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Total:
    """The list has `rows` rows, or at least that many if `is_minimum` is set."""

    rows: int
    is_minimum: bool = False

    @classmethod
    def counted(cls, found: int, seen: int = 0) -> "Total":
        """Makes a total of `found`, a count that stops at MOST + 1. `seen` is the number of rows
        that a page has shown to exist."""
        return cls(found) if found <= MOST else cls(max(MOST, seen), is_minimum=True)


def reached(skip: int, shown: int) -> int:
    """How many rows a page has shown to exist. A page beyond the last row shows nothing."""
    return skip + shown if shown else 0


# Inside `counted_once`: the list's total in a list of one, empty until it is counted. Otherwise
# None.
_KNOWN: ContextVar[list[Total] | None] = ContextVar("known", default=None)


@contextmanager
def counted_once() -> Iterator[None]:
    """For an answer that joins many pages of one list: only the first page counts the rows.
    Otherwise a count that takes too long would be started and given up for each of fifty pages."""
    token = _KNOWN.set([])
    try:
        yield
    finally:
        _KNOWN.reset(token)


async def count(connection: Connection, statement: Statement, *, seen: int, **filters: Any) -> Total:
    """Counts with a statement that takes `most`, the number at which it stops.

    `seen` is how far the page reaches. If the count takes too long, it is given up, and the total
    is at least `seen`. The transaction around it can go on after that.
    """
    known = _KNOWN.get()
    if known:
        return known[0]
    total = await _count(connection, statement, seen, filters)
    if known is not None:
        known.append(total)
    return total


async def _count(connection: Connection, statement: Statement, seen: int, filters: Mapping[str, Any]) -> Total:
    try:
        # Without a savepoint, the cancelled statement would make the whole transaction fail.
        async with connection.transaction() if connection.is_in_transaction() else nullcontext():
            found = await statement.fetchval(connection, most=MOST + 1, **filters)
    except asyncpg.QueryCanceledError:
        return Total(seen, is_minimum=True)
    return Total.counted(found, seen)
