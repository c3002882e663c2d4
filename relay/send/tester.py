"""Tests of webhooks: each is one request, for whose result the API waits. It bypasses the queue,
the breaker and the statistics."""

import asyncio
from datetime import datetime
from uuid import UUID

from relay.board import Board
from relay.identity import Identity
from relay.record.record import Recorder
from relay.rules.breaker import Observation
from relay.rules.policy import failure, is_success
from relay.send.envelope import Envelope, envelope
from relay.send.target import Target, Targets
from relay.transport import Exchange, Transport
from relay.transport.exchange import one_line
from service.platform.db import Pool, is_passing
from service.platform.logs import get_logger
from service.platform.queries import load

_log = get_logger(__name__)
_SQL = load("tester")

# Half of the tests' slots are kept for owners who have no test under way.
MAX_TESTS = 128
TESTS_KEPT = MAX_TESTS // 2


class Tester:
    """Tests have slots of their own, so that deliveries do not wait for receivers that are only
    being tried."""

    def __init__(
        self,
        pool: Pool,
        board: Board,
        identity: Identity,
        recorder: Recorder,
        targets: Targets,
        transport: Transport,
    ) -> None:
        self._pool = pool
        self._board = board
        self._identity = identity
        self._recorder = recorder
        self._targets = targets
        self._transport = transport
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return len(self._sending)

    async def finish(self, grace_seconds: float) -> None:
        """Waits for the tests in flight, for at most `grace_seconds`, then cuts off the rest."""
        if not self._sending:
            return
        _, late = await asyncio.wait(self._sending, timeout=grace_seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def claim(self) -> None:
        """Starts the tests that may start. The API waits for their results in the database."""
        if (free := MAX_TESTS - self.in_flight) <= 0:
            return
        relay_id = self._identity.relay_id
        shared = max(0, free - TESTS_KEPT)
        for row in await _SQL.claim_tests.fetch(self._pool, relay_id=relay_id, most=free, shared=shared):
            test = self._send(row["id"], row["webhook_id"], row["claimed_at"], relay_id)
            task = asyncio.create_task(test, name=f"test of {row['webhook_id']}")
            self._sending.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a request crashed", request=task.get_name(), exc_info=error)
        # Other tests may have waited for its slot.
        self._board.test()

    async def _send(self, test_id: UUID, webhook_id: UUID, now: datetime, relay_id: UUID) -> None:
        """`relay_id`: the id with which this relay claimed the test. It may have another one at the
        end. Any error ends this test only, and is its reason."""
        try:
            await self._try(test_id, webhook_id, now, relay_id)
        except Exception as error:  # noqa: BLE001 - the boundary around one test
            if is_passing(error):
                # The API answers that no relay made the test in time. The caller may ask again.
                _log.warning(
                    "a test was not finished", webhook_id=str(webhook_id), error=str(error) or type(error).__name__
                )
                return
            _log.exception("a test could not be made", webhook_id=str(webhook_id))
            why = one_line(f"the relay could not make this test: {type(error).__name__}: {error}")
            await _SQL.finish_test.execute(self._pool, id=test_id, relay_id=relay_id, status=None, error=why)

    async def _try(self, test_id: UUID, webhook_id: UUID, now: datetime, relay_id: UUID) -> None:
        async with self._pool.acquire() as connection:
            target = await self._targets.load_fresh(connection, webhook_id)
        status: int | None = None
        error: str | None = "the webhook is gone"
        if target is not None and target.broken is not None:
            error = "cannot sign: " + target.broken
        elif target is not None:
            data = b'{"message":"This is a test of your webhook","webhookId":"%s"}' % str(webhook_id).encode()
            sent = envelope(
                target,
                event_id=test_id,
                event_type="test",
                data=data,
                occurred_at=now,
                attempt=1,
                timestamp=int(now.timestamp()),
            )
            exchange = await self._post(target, sent)
            status, error = exchange.status, failure(exchange.status, exchange.error)
        await _SQL.finish_test.execute(self._pool, id=test_id, relay_id=relay_id, status=status, error=error)
        if is_success(status):
            # A test goes out even if the breaker is open, and closes it: the receiver is well.
            await self._recorder.observe(webhook_id, Observation(0, success=True, probe=True))

    async def _post(self, target: Target, sent: Envelope) -> Exchange:
        """The request counts at its origin like a delivery. If the origin has no room, the test
        fails at once instead of waiting."""
        origin, owner = target.place.origin, target.place.there
        full = origin.main_free <= 0
        if full and not origin.admits(owner, quick=target.place.taken_for_quick):
            return Exchange(error="too many requests to this host are under way; try again later")
        part = origin.hold(owner, reserve=full)
        try:
            return await self._transport.post(target.url, sent.headers, sent.body, target.timeout_ms)
        finally:
            origin.release(owner, part)
