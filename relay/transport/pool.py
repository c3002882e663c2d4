"""Kept connections, which wait for the next request to the same origin."""

import asyncio
import time
from collections import OrderedDict

from relay.rules.endpoint import Origin
from relay.transport.connection import Connection

IDLE_SECONDS = 30.0
# Under load a connection is never idle. It ends at this age, so that a change in the DNS takes
# effect.
MAX_AGE_SECONDS = 300.0
# Together with the requests in flight, this stays below the 1,024 open files that a process
# commonly may have.
MAX_IDLE = 448
MAX_IDLE_PER_ORIGIN = 256


class ConnectionPool:
    def __init__(
        self,
        *,
        idle_seconds: float = IDLE_SECONDS,
        max_age_seconds: float = MAX_AGE_SECONDS,
        max_idle: int = MAX_IDLE,
        max_per_origin: int = MAX_IDLE_PER_ORIGIN,
    ) -> None:
        self._idle_seconds = idle_seconds
        self._max_age = max_age_seconds
        self._max_idle = max_idle
        self._max_per_origin = max_per_origin
        # All connections that have not ended, idle or not.
        self.open: set[Connection] = set()
        # The idle connections, the longest idle first, and the same by origin. `take` returns the
        # one that came last. So those that are not needed get old and end.
        self._idle: OrderedDict[Connection, float] = OrderedDict()
        self._by_origin: dict[Origin, dict[Connection, None]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> int:
        return len(self._idle)

    def opened(self, connection: Connection) -> None:
        self.open.add(connection)

    def take(self, origin: Origin) -> Connection | None:
        while waiting := self._by_origin.get(origin):
            connection, _ = waiting.popitem()
            if not waiting:
                del self._by_origin[origin]
            del self._idle[connection]
            if connection.usable:
                return connection
        return None

    def give(self, connection: Connection) -> None:
        """Keeps the connection for the next request, or closes it if there are enough."""
        now = time.monotonic()
        waiting = self._by_origin.get(connection.origin)
        if now - connection.since > self._max_age or (waiting and len(waiting) >= self._max_per_origin):
            connection.abort()
            return
        if not waiting:
            waiting = self._by_origin[connection.origin] = {}
        waiting[connection] = None
        self._idle[connection] = now
        if len(self._idle) > self._max_idle:
            self._end(next(iter(self._idle)))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._idle_seconds, self._end_expired)

    def end_idle_since(self, origin: Origin, since: float) -> None:
        """Closes the origin's connections that have been idle since `since`, in monotonic
        seconds."""
        for connection in list(self._by_origin.get(origin, ())):
            if self._idle[connection] <= since:
                self._end(connection)

    def lost(self, connection: Connection) -> None:
        """The connection has ended, whichever side closed it."""
        self.open.discard(connection)
        self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        if self._idle.pop(connection, None) is not None:
            waiting = self._by_origin[connection.origin]
            del waiting[connection]
            if not waiting:
                del self._by_origin[connection.origin]

    def close(self) -> None:
        for connection in list(self.open):
            connection.abort()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _end(self, connection: Connection) -> None:
        self._remove(connection)
        connection.abort()

    def _end_expired(self) -> None:
        self._sweep = None
        now = time.monotonic()
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            rest = since + self._idle_seconds - now
            if rest > 0:
                self._sweep = asyncio.get_running_loop().call_later(rest, self._end_expired)
                return
            self._end(connection)
