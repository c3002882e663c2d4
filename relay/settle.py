"""What results mean for the lanes that they are about: breakers, pauses, webhooks given up, and the events that tell of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from random import Random
from uuid import UUID

import asyncpg

from relay import notices
from relay.breaker import Lane, Policy, Seen, Verdict, after
from relay.notices import Notice, Row
from service.platform.db import is_of_a_row
from service.platform.logs import get_logger
from service.platform.queries import Connection, load
from service.platform.subject import columns, subject_of

_log = get_logger(__name__)
_SQL = load("settle")
_STATE = tuple(entry.name for entry in fields(Lane) if entry.name != "failed_events")


@dataclass(slots=True)
class Results:
    """Of one lane, in the order in which they came. `failed`: how many of them failed for good and are to be told of, `skipped`:
    how many of those were stepped over for the next event of their item."""

    seen: list[Seen] = field(default_factory=list)
    failed: int = 0
    skipped: int = 0
    # Only what came of an operational event: that one begets none.
    silent: bool = True


class Settler:
    """`steady`: whether the database's clock can be trusted to say that a webhook has failed for days."""

    def __init__(self, policy: Policy, rng: Random | None = None, *, steady: Callable[[], bool] = lambda: True) -> None:
        self._policy = policy
        self._rng = rng or Random()
        self._steady = steady

    async def settle(
        self, connection: Connection, results: Mapping[UUID, Results], *, apart: bool = False
    ) -> dict[UUID, float]:
        """Within the transaction that records the results. Returns which lanes to look at again, and in how many seconds: at once
        where a success has freed one of its breaker or pause, or what went after a pause has failed without asking for another;
        later where a probe has failed or a pause lasts. `apart`: each lane by itself, so that one that cannot be settled costs the
        others nothing; for when they could not be settled together."""
        if not apart:
            return await self._settle(connection, results)
        looks: dict[UUID, float] = {}
        # In the order in which they are locked everywhere.
        for webhook_id in sorted(results):
            looks |= await self._settle_one(connection, webhook_id, results[webhook_id])
        return looks

    async def _settle_one(self, connection: Connection, webhook_id: UUID, results: Results) -> dict[UUID, float]:
        """The boundary around one lane. One whose state cannot be worked with begins anew: that its results are recorded must not
        depend on it."""
        try:
            async with connection.transaction():
                return await self._settle(connection, {webhook_id: results})
        except Exception as error:
            if not is_of_a_row(error):
                raise
            _log.exception("a lane's state cannot be worked with; it begins anew", webhook_id=str(webhook_id))
        try:
            async with connection.transaction():
                await _SQL.begin_anew.execute(connection, webhook_id=webhook_id)
        except Exception as error:
            if not is_of_a_row(error):
                raise
            _log.exception("nor can it begin anew", webhook_id=str(webhook_id))
        return {webhook_id: 0.0}

    async def _settle(self, connection: Connection, results: Mapping[UUID, Results]) -> dict[UUID, float]:
        if not results:
            return {}
        rows = await _SQL.lock.fetch(connection, webhook_ids=list(results))
        verdicts: list[tuple[asyncpg.Record, Verdict]] = []
        for row in rows:
            seen = [one.of(row["version"]) for one in results[row["webhook_id"]].seen]
            verdict = after(lane_of(row).bounded(row["now"]), seen, row["now"], self._policy, self._rng)
            verdicts.append((row, verdict))
        if not verdicts:
            return {}
        await self._save(connection, verdicts, results)
        told: list[Notice] = []
        for row, verdict in verdicts:
            silent = results[row["webhook_id"]].silent
            told += await self._tell(connection, row, verdict, silent=silent)
        failing = [row["webhook_id"] for row, _ in verdicts if results[row["webhook_id"]].failed]
        if failing:
            told += await _failures(connection, failing)
        await _write(connection, told)
        return dict(look for row, verdict in verdicts if (look := _next_look(row, verdict.lane)) is not None)

    async def _save(
        self,
        connection: Connection,
        verdicts: Sequence[tuple[asyncpg.Record, Verdict]],
        results: Mapping[UUID, Results],
    ) -> None:
        lanes = [verdict.lane for _, verdict in verdicts]
        webhook_ids = [row["webhook_id"] for row, _ in verdicts]
        await _SQL.save.execute(
            connection,
            webhook_ids=webhook_ids,
            failures=[lane.failures for lane in lanes],
            failing_sinces=[lane.failing_since for lane in lanes],
            failed_events=["{" + ",".join(map(str, lane.failed_events)) + "}" for lane in lanes],
            opened_ats=[lane.opened_at for lane in lanes],
            probe_ats=[lane.probe_at for lane in lanes],
            failed_probes=[lane.failed_probes for lane in lanes],
            probe_bys=[lane.probe_by for lane in lanes],
            probe_untils=[lane.probe_until for lane in lanes],
            probe_positions=[lane.probe_position for lane in lanes],
            pauses=[lane.pauses for lane in lanes],
            paused_untils=[lane.paused_until for lane in lanes],
            failed=[results[webhook_id].failed for webhook_id in webhook_ids],
            skipped=[results[webhook_id].skipped for webhook_id in webhook_ids],
        )

    async def _tell(
        self, connection: Connection, row: asyncpg.Record, verdict: Verdict, *, silent: bool
    ) -> Iterable[Notice]:
        webhook_id: UUID = row["webhook_id"]
        told: list[Notice] = []
        if verdict.recovered:
            _log.info("a webhook has recovered", webhook_id=str(webhook_id), failures=row["failures"])
            told.append(notices.recovered(row))
        elif verdict.lane.opened_at is not None and row["opened_at"] is None:
            _log.warning("a webhook's breaker is open", webhook_id=str(webhook_id), failures=verdict.lane.failures)
        if verdict.disable == "gone" or (verdict.disable == "failing" and self._steady()):
            since = verdict.since
            assert since is not None, "it comes with the reason"
            detail = notices.why_disabled(verdict.disable, since)
            if await _SQL.disable.fetchval(connection, webhook_id=webhook_id, reason=detail) is not None:
                _log.warning("a webhook was disabled", webhook_id=str(webhook_id), reason=detail)
                told.append(notices.disabled(row, verdict.disable, detail, since))
        return [] if silent else told


def _next_look(row: asyncpg.Record, lane: Lane) -> tuple[UUID, float] | None:
    if lane.clean:
        return None if lane_of(row).clean else (row["webhook_id"], 0.0)
    if lane.probe_at is not None and lane.probe_until is None:
        return row["webhook_id"], (lane.probe_at - row["now"]).total_seconds()
    if lane.opened_at is None and lane.paused_until is not None:
        left = (lane.paused_until - row["now"]).total_seconds()
        if left > 0 or lane.probe_until is None:
            # When it is over; at once, where what went after it has failed without asking for another.
            return row["webhook_id"], max(0.0, left)
    return None


async def announce(connection: Connection, webhook_ids: Sequence[UUID] | None) -> None:
    """Tell of failures that came within a minute of the last that was told of; of these webhooks, or of all. In a transaction."""
    await _write(connection, await _failures(connection, webhook_ids))


async def _failures(connection: Connection, webhook_ids: Sequence[UUID] | None) -> list[Notice]:
    rows = await _SQL.take_announcements.fetch(connection, webhook_ids=webhook_ids)
    return [notices.delivery_failed(row) for row in rows]


async def _write(connection: Connection, told: Sequence[Notice]) -> None:
    """Into the outbox, in the same transaction as what they tell of."""
    if told:
        subjects = [subject_of(notice.type, notice.data, None) for notice in told]
        await _SQL.write_notices.execute(
            connection,
            types=[notice.type for notice in told],
            datas=[subject.data for subject in subjects],
            **columns(subjects),
        )


def lane_of(row: Row) -> Lane:
    return Lane(failed_events=tuple(row["failed_events"]), **{name: row[name] for name in _STATE})
