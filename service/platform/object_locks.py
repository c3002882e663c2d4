"""Locks within a process, one for each object. Requests that wait for a lock get it in the order of
their coming."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from service.platform.errors import Unavailable


class ObjectLocks:
    """A lock exists while somebody holds it or waits for it. Nobody holds a connection to the
    database while waiting."""

    def __init__(self, most_seconds: float) -> None:
        """`most_seconds` is how long somebody waits for a lock."""
        self._most_seconds = most_seconds
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Waits for the object's lock, and holds it until the context ends. Raises Unavailable if
        it does not come free in time."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        if lock.locked():
            try:
                async with asyncio.timeout(self._most_seconds):
                    await lock.acquire()
            except TimeoutError:
                raise Unavailable("others change this at the moment; try again", retry_after=1) from None
        else:
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()
