"""Replays, run by the leader. They queue stretches of the log again, a little at a time, and no
faster than the deliveries are sent."""

import asyncio
import time
from typing import Literal
from uuid import UUID

from relay.board import Board
from relay.identity import Identity
from relay.record.order import Order
from relay.service import Service
from relay.watch.outage import Outage
from service.platform.db import Pool, is_away, is_of_a_row, is_passing
from service.platform.logs import get_logger
from service.platform.queries import Connection, load

_log = get_logger(__name__)
_SQL = load("replay")

# A replay waits while so many rows are due in its webhook's lane, wherever they come from, because
# new events stand behind them.
MAX_DUE = 500
# A replay also waits while there is room for fewer rows: a batch should be worth its transaction.
LEAST_BATCH = 100
# One transaction looks at no more positions than this.
SCAN = 10_000
# The pauses while all replays wait for their lanes.
FIRST_PAUSE = 0.05
SLOWEST_PAUSE = 5.0

Step = Literal["advanced", "waits", "ended"]


class Replay(Service):
    name = "replays"

    def __init__(
        self,
        pool: Pool,
        board: Board,
        outage: Outage,
        identity: Identity,
        *,
        ttl_seconds: int,
        poll_seconds: float,
    ) -> None:
        self._pool = pool
        self._board = board
        self._outage = outage
        self._leads = identity.leads
        self._ttl = ttl_seconds
        self._poll = poll_seconds

    async def run(self) -> None:
        """Works on the open jobs while this relay leads. A job's position is in the database, so
        another relay may go on with it."""
        pause = FIRST_PAUSE
        while True:
            if not self._leads.is_set():
                # A relay that does not lead has none of this work. If it failed before, the outage
                # need not wait for it.
                self._outage.over(self.name)
                await self._leads.wait()
            self._board.replays.clear()
            began = time.monotonic()
            try:
                steps = await self.look()
            except Exception as error:
                if not is_passing(error):
                    raise
                await self._outage.wait(self.name, error)
                continue
            self._outage.over(self.name)
            if "advanced" in steps:
                # Work at most half of the time. The other half is for fan-out and recording.
                pause = FIRST_PAUSE
                await asyncio.sleep(time.monotonic() - began)
                continue
            try:
                async with asyncio.timeout(pause if "waits" in steps else self._poll):
                    await self._board.replays.wait()
            except TimeoutError:
                pass
            pause = min(pause * 2, SLOWEST_PAUSE) if "waits" in steps else FIRST_PAUSE

    async def look(self) -> set[Step]:
        """Queues one batch of each open job, oldest first."""
        steps: set[Step] = set()
        for row in await _SQL.open_jobs.fetch(self._pool):
            steps.add(await self._step(row["id"]))
        return steps

    async def _step(self, job_id: UUID) -> Step:
        """Handles the errors of one job. If another try would change nothing, the job ends as
        failed, with its reason. The other jobs go on either way."""
        try:
            return await self._advance(job_id)
        except Exception as error:
            if is_away(error):
                raise
            if not is_of_a_row(error):
                _log.warning("a replay waits", job_id=str(job_id), error=str(error))
                return "waits"
            _log.exception("a replay failed", job_id=str(job_id))
            failed = error
        try:
            await _SQL.end_job.execute(
                self._pool, id=job_id, state="failed", error=f"{type(failed).__name__}: {failed}"
            )
        except Exception as error:
            if not is_of_a_row(error):
                raise
            _log.exception("a replay that failed cannot be ended", job_id=str(job_id))
        return "ended"

    async def _advance(self, job_id: UUID) -> Step:
        async with self._pool.acquire() as connection, connection.transaction():
            job = await _SQL.lock_job.fetchrow(connection, id=job_id)
            if job is None:
                return "ended"
            if job["position"] < 0 or job["through"] > job["head"]:
                # Such a job would search for ever, for positions that the log does not have.
                raise ValueError("it begins before the log, or goes on after it")
            webhook = await _SQL.lock_webhook.fetchrow(connection, webhook_id=job["webhook_id"])
            if webhook is None or webhook["deleted"]:
                await _SQL.end_job.execute(connection, id=job_id, state="cancelled", error=None)
                return "ended"
            room = await self._room(connection, job["webhook_id"], webhook["discard_through"])
            if room < LEAST_BATCH:
                return "waits"
            window_end = await _SQL.window_end.fetchval(
                connection, after=job["position"], scan=SCAN, through=job["through"]
            )
            done = await _SQL.advance.fetchrow(
                connection,
                id=job_id,
                webhook_id=job["webhook_id"],
                after=job["position"],
                window_end=window_end,
                since=job["since"],
                until=job["until"],
                wanted=job["wanted"],
                types=job["types"],
                ttl_seconds=self._ttl,
                room=room,
            )
            assert done is not None, "the job's row is locked"
            await Order(connection, [(job["webhook_id"], item_id) for item_id in done["item_ids"]]).promote()
        if done["queued"]:
            self._board.due([job["webhook_id"]])
            self._board.hint_peers([job["webhook_id"]])
        if done["state"] == "done":
            _log.info("replayed", job_id=str(job_id), webhook_id=str(job["webhook_id"]), events=done["done"])
            return "ended"
        return "advanced"

    async def _room(self, connection: Connection, webhook_id: UUID, discard_through: int) -> int:
        """How many rows may be queued now."""
        if discard_through and not await _SQL.end_discard.fetchval(connection, webhook_id=webhook_id):
            return 0
        room: int = await _SQL.room.fetchval(connection, webhook_id=webhook_id, most=MAX_DUE)
        return room
