"""Election: the relay that holds the lock F on its LISTEN connection is the leader."""

import asyncio

import asyncpg

from relay.board import Board
from relay.claim.offers import Offers
from relay.identity import Identity
from relay.lead import doorbell
from relay.lead.listen import Listen, Listening
from relay.lead.look import PROBE_TIMEOUT, Look, wait
from relay.service import Service
from relay.watch.outage import Outage
from service.platform.db import AWAY, CONTENDED
from service.platform.logs import get_logger

_log = get_logger(__name__)

ELECTION_SECONDS = 1.0


class Election(Service):
    """Keeps a LISTEN connection, tries to become the leader on it, and leads as long as it
    lasts."""

    name = "election"

    def __init__(
        self, listen: Listen, look: Look, offers: Offers, board: Board, outage: Outage, identity: Identity
    ) -> None:
        self._listen = listen
        self._look = look
        self._offers = offers
        self._board = board
        self._outage = outage
        self._identity = identity

    async def run(self) -> None:
        """Reconnects with backoff when the connection is lost. Messages may have been lost with
        it."""
        while True:
            again = self._identity.listen_pid is not None
            try:
                async with self._listen.open() as listening:
                    if again:
                        self._offers.reconnected()
                    self._board.missed()
                    await self._stand(listening)
            except (*AWAY, *CONTENDED, asyncpg.PostgresError) as error:
                await self._outage.wait("listen", error)

    async def stop(self) -> None:
        await super().stop()
        await self._listen.leave()

    async def _stand(self, listening: Listening) -> None:
        while not listening.lost.is_set():
            async with asyncio.timeout(PROBE_TIMEOUT):
                elected = await doorbell.try_lock(listening.connection, doorbell.LOCK_LEADER)
            if elected:
                await self._lead(listening)
            self._outage.over("listen")
            await wait(listening.lost, ELECTION_SECONDS)
        raise asyncpg.InterfaceError("the server closed the LISTEN connection")

    async def _lead(self, listening: Listening) -> None:
        self._identity.leads.set()
        _log.info("leading", relay_id=str(self._identity.relay_id))
        # Holding F proves that the previous leader's last statement has ended. Perhaps nobody
        # received its reply, which names the lanes with something due.
        self._board.missed()
        try:
            await self._look.lead(listening)
        finally:
            # A relay that does not lead does no fan-out. If fan-out failed before, the outage need
            # not wait for it.
            self._identity.leads.clear()
            self._outage.over("fan-out")
