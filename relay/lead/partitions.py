"""Partitions of the logs. They are made ahead and dropped when they are old. If one cannot be made
or dropped, the reason is logged once, and the others go on."""

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
        # Reasons that were logged already.
        self._reported: set[str] = set()

    async def make(self) -> None:
        """Makes those of the days ahead. Raises LockNotAvailableError; then some may be missing."""
        async with self._pool.acquire() as connection:
            with self._listening(connection):
                while made := await _SQL.make_partitions.fetchval(connection, days_ahead=DAYS_AHEAD):
                    _log.info("made partitions", made=made)

    async def drop(self) -> None:
        """Drops those that are too old. Raises LockNotAvailableError; then some may be left."""
        async with self._pool.acquire() as connection:
            with self._listening(connection):
                # Each is dropped in a transaction of its own, so that its lock is not held while
                # the next one is searched for.
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
