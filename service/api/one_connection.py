"""A request that is one transaction: all that its handler reads and writes goes over one connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncpg.transaction import Transaction

from service.platform.queries import Connection


class OneConnection:
    """What stands in for the pool within a request that is one transaction, and for the connections taken from it: all that the
    handler reads and writes goes there.

    So the handler sees what it has written, and no request holds one connection while it waits for another. Each of the handler's
    own transactions becomes a savepoint, whatever isolation it asks for: that is the whole transaction's to have."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["OneConnection"]:
        yield self

    def transaction(self, **_: object) -> Transaction:
        return self._connection.transaction()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
