"""The LISTEN connection. It receives the messages of peers and the writers' rings, and holds the
leader's locks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from relay.identity import Identity
from relay.lead import doorbell
from relay.watch.database import PLANNING, QueueConnection, Queues, introduce
from relay.watch.peers import Peers
from service.platform.epoch import Epoch
from service.platform.queries import Executor, load
from service.platform.session import open_session

_SQL = load("listen")

SET_UP_TIMEOUT = 10.0
COMMAND_TIMEOUT = 60.0
# How long the old backend may take to end.
END_MS = 3000

LISTENING = {
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    **PLANNING,
}


class Listening:
    """One LISTEN connection. `lost` is set when it has ended. `woken` is set then, too, and when a
    writer has rung."""

    def __init__(self, connection: QueueConnection) -> None:
        self.connection = connection
        self.lost = asyncio.Event()
        self.woken = asyncio.Event()

    async def listen_for_rings(self) -> None:
        """For the leader. No other relay looks at the outbox."""
        await self.connection.add_listener(doorbell.WAKE_CHANNEL, self.ring)

    def ring(self, *_: Any) -> None:
        self.woken.set()

    def end(self, *_: Any) -> None:
        self.lost.set()
        self.woken.set()


class Listen:
    """Opens the connection, and ends the previous one's backend, so that it holds no locks."""

    def __init__(self, url: str, pool: Queues, identity: Identity, epoch: Epoch, peers: Peers) -> None:
        self._url = url
        self._pool = pool
        self._identity = identity
        self._epoch = epoch
        self._peers = peers

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Listening]:
        connection = await open_session(
            self._url,
            QueueConnection,
            application_name="jossiedb relay listen",
            settings=LISTENING,
            command_timeout=COMMAND_TIMEOUT,
        )
        try:
            listening = Listening(connection)
            async with asyncio.timeout(SET_UP_TIMEOUT):
                await self._set_up(listening)
            yield listening
        finally:
            # The leader's locks end with the connection. Do not wait for its end: it may be
            # half-open.
            connection.terminate()

    async def _set_up(self, listening: Listening) -> None:
        connection, identity = listening.connection, self._identity
        await self._epoch.greet(connection)
        connection.add_termination_listener(listening.end)
        await connection.add_listener(doorbell.WORK_CHANNEL, self._on_message)
        # The previous connection may have been cut off unnoticed by the server. Its backend would
        # still hold the leader's locks, and its statement might lease.
        await self._end_last_backend(connection)
        await introduce(connection)
        self._pool.adopt(connection)
        identity.listen_pid, identity.listen_start = connection.backend
        identity.listen_number += 1
        # Write this before the connection can hold the leader's locks. A peer that finds this relay
        # silent must know which backend to end.
        await _SQL.listens.execute(
            connection,
            id=identity.relay_id,
            pid=identity.listen_pid,
            start=identity.listen_start,
            number=identity.listen_number,
        )

    async def leave(self) -> None:
        """Ends the backend. Otherwise a fan-out that was cancelled here, and that waits in the
        server, would go on there and keep the leader's locks."""
        await self._end_last_backend(self._pool)

    async def _end_last_backend(self, connection: Executor) -> None:
        if self._identity.listen_pid is not None:
            await _SQL.end_backend.execute(
                connection, pid=self._identity.listen_pid, start=self._identity.listen_start, wait_ms=END_MS
            )

    def _on_message(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        self._peers.receive(str(payload))
