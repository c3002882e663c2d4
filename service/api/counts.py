"""How many rows a list has in all, counted no further than a client needs to know."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import asyncpg

from service.platform.queries import Connection, Statement

# Up to so many rows a count is exact. Counting a million takes a tenth of a second of a processor, for each page.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Total:
    """`rows` in all; where `is_minimum`, at least so many."""

    rows: int
    is_minimum: bool = False

    @classmethod
    def counted(cls, found: int, seen: int = 0) -> "Total":
        """From a count that stops at MOST + 1, and the rows that a page has shown to be there."""
        return cls(found) if found <= MOST else cls(max(MOST, seen), is_minimum=True)


def reached(skip: int, shown: int) -> int:
    """How many rows a page has shown to be there. A page beyond the last row shows nothing."""
    return skip + shown if shown else 0


# The total of the list that one answer has many pages of, once it is counted; None: a page is all.
_KNOWN: ContextVar[list[Total] | None] = ContextVar("known", default=None)


@contextmanager
def counted_once() -> Iterator[None]:
    """For an answer that is many pages of one list: only the first is counted. A count that takes too
    long would otherwise be given up again for each of fifty pages."""
    token = _KNOWN.set([])
    try:
        yield
    finally:
        _KNOWN.reset(token)


async def count(connection: Connection, statement: Statement, *, seen: int, **filters: Any) -> Total:
    """By a statement that takes `most`, the rows that it counts at most. A count that takes too long is given up, and `seen`, which
    is how far the page reaches, is the least that there are. A transaction goes on after that."""
    known = _KNOWN.get()
    if known:
        return known[0]
    total = await _count(connection, statement, seen, filters)
    if known is not None:
        known.append(total)
    return total


async def _count(connection: Connection, statement: Statement, seen: int, filters: Mapping[str, Any]) -> Total:
    try:
        # In a savepoint: without one the cancelled statement would end the transaction it is in.
        async with connection.transaction() if connection.is_in_transaction() else nullcontext():
            found = await statement.fetchval(connection, most=MOST + 1, **filters)
    except asyncpg.QueryCanceledError:
        return Total(seen, is_minimum=True)
    return Total.counted(found, seen)
