"""Messages between relays, sent by NOTIFY: hints about lanes, and requests to sweep. Nothing
depends on their arrival."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from asyncpg.pgproto import pgproto

from relay.board import Board
from relay.identity import Identity
from relay.service import Service
from service.platform.db import AWAY, Pool
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("peers")

# A NOTIFY's payload has at most 8,000 bytes, enough for HINTED_AT_ONCE ids. Above MAX_HINTED lanes,
# one message asks the peers to sweep instead.
HINTED_AT_ONCE = 200
MAX_HINTED = 10_000
ALL = "*"


class Peers(Service):
    """A message is the sender's id, a space, and then the ids of webhooks, separated by commas. `*`
    instead of the ids stands for all lanes."""

    name = "peers"

    def __init__(self, pool: Pool, board: Board, identity: Identity) -> None:
        self._pool = pool
        self._board = board
        self._identity = identity

    async def run(self) -> None:
        while True:
            await self._board.peers.wait()
            self._board.peers.clear()
            await self._send(self._board.take_hints())

    async def stop(self) -> None:
        """Sends this relay's last message, a request to sweep. Some retries are only on this
        relay's agenda, and now its peers have to find them."""
        await super().stop()
        await self._send(None)

    async def _send(self, webhook_ids: Sequence[UUID] | None) -> None:
        """Notifies the peers in a transaction of its own, because one that writes nothing has
        nothing to flush. None asks all relays to sweep every lane, even those that came after this
        relay last counted them. If the message is lost, the peers' sweeps find what is due."""
        if webhook_ids is not None and (not webhook_ids or self._identity.listed == 1):
            return
        if webhook_ids is None or len(webhook_ids) > MAX_HINTED:
            messages = [ALL]
        else:
            parts = range(0, len(webhook_ids), HINTED_AT_ONCE)
            messages = [",".join(map(str, webhook_ids[part : part + HINTED_AT_ONCE])) for part in parts]
        sender = self._identity.relay_id
        try:
            await _SQL.notify_work.execute(self._pool, payloads=[f"{sender} {message}" for message in messages])
        except (*AWAY, asyncpg.PostgresError) as error:
            _log.info("the other relays could not be notified of work", error=str(error) or type(error).__name__)

    def receive(self, message: str) -> None:
        sender, _, lanes = message.partition(" ")
        if sender == str(self._identity.relay_id):
            return
        if lanes == ALL:
            self._board.missed()
            return
        try:
            # This type is the one of the ids in the database's rows. It is parsed, and compared
            # with them, in a fraction of the time that the standard UUID takes.
            webhook_ids: list[UUID] = [pgproto.UUID(lane) for lane in lanes.split(",") if lane]
        except ValueError:
            # Anybody may send a NOTIFY. A message that is not ours costs one sweep, and no more.
            self._board.missed()
            return
        self._board.due(webhook_ids)
