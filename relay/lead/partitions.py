"""Partitions of the logs: made ahead, dropped when they are past. What is in the way of one is said once, and the rest goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from service.platform.db import Pool
from service.platform.logs import get_logger
from service.platform.queries import Connection, load

_log = get_logger(__name__)
_SQL = load("partitions")

DAYS_AHEAD = 7


class Partitions:
    def __init__(self, pool: Pool, ttl_seconds: int) -> None:
        self._pool = pool
        self._ttl = ttl_seconds
        # What the server has said of those that it could not make or drop.
        self._reported: set[str] = set()

    async def make(self) -> None:
        """For the days ahead. Raises LockNotAvailableError, and then some may be missing."""
        async with self._pool.acquire() as connection:
            with self._listening(connection):
                while made := await _SQL.make_partitions.fetchval(connection, days_ahead=DAYS_AHEAD):
                    _log.info("made partitions", made=made)

    async def drop(self) -> None:
        """Those that are past. Raises LockNotAvailableError, and then some may be left."""
        async with self._pool.acquire() as connection:
            with self._listening(connection):
                # Each in a transaction of its own: its lock is held while it is dropped, and not while the next is looked for.
                while dropped := await _SQL.drop_partition.fetchval(connection, ttl_seconds=self._ttl, now=None):
                    _log.info("dropped a partition", dropped=dropped)

    @contextmanager
    def _listening(self, connection: Connection) -> Iterator[None]:
        connection.add_log_listener(self._notice)
        try:
            yield
        finally:
            connection.remove_log_listener(self._notice)

    def _notice(self, _: Any, message: Any) -> None:
        text = str(message.message)
        if text not in self._reported:
            self._reported.add(text)
            _log.warning("a partition is left as it is", reason=text)
