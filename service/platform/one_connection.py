"""For a request that is one transaction: its handler reads and writes over one connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncpg.transaction import Transaction

from service.platform.queries import Connection


class OneConnection:
    """Replaces the pool, and each connection taken from it, within a request that is one
    transaction.

    So the handler sees its own uncommitted writes, and no request holds one connection while it
    waits for another. Each transaction of the handler becomes a savepoint. The isolation level that
    it asks for is ignored, because only a whole transaction can have one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["OneConnection"]:
        yield self

    def transaction(self, **_: object) -> Transaction:
        return self._connection.transaction()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
