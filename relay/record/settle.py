"""Settling: applies results to the health of receivers. It changes breakers and pauses, disables
webhooks, and writes notices about it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from random import Random
from typing import Protocol
from uuid import UUID

import asyncpg

from relay.record import notices
from relay.record.notices import Notice, Row
from relay.rules.breaker import BreakerPolicy, Health, HealthChange, Observation, after
from service.delivery.subject import columns, subject_of
from service.platform.db import is_of_a_row
from service.platform.logs import get_logger
from service.platform.queries import Connection, load
from service.platform.server_clock import SERVER_CLOCK

_log = get_logger(__name__)
_SQL = load("settle")
_STATE = tuple(entry.name for entry in fields(Health) if entry.name != "failed_events")


@dataclass(slots=True)
class HealthReport:
    """The results for one receiver, in the order in which they came. `failed`: how many failed for
    good. `skipped`: how many of those were skipped, so that the next event of their item
    follows."""

    observations: list[Observation] = field(default_factory=list)
    failed: int = 0
    skipped: int = 0
    # Whether all results are of events about webhooks. These cause no notices.
    silent: bool = True


class Clock(Protocol):
    @property
    def steady(self) -> bool:
        """Whether the database's clock has run steadily for an hour."""


class Settler:
    """`clock`: only while it is steady is a webhook disabled for having failed for days."""

    def __init__(self, policy: BreakerPolicy, clock: Clock = SERVER_CLOCK) -> None:
        self._policy = policy
        self._clock = clock
        self._rng = Random()

    async def settle(
        self, connection: Connection, reports: Mapping[UUID, HealthReport], *, apart: bool = False
    ) -> dict[UUID, float]:
        """Call this in the transaction that records the results. Returns which lanes to look at
        again, and in how many seconds.

        - At once: a success has closed a breaker or ended a pause, or a probe after a pause has
          failed and its answer asked for no other pause.
        - Later: a probe has failed, or a pause lasts.

        `apart`: each receiver by itself, so that one whose health cannot be settled does not harm
        the others. It is meant for reports that could not be settled together.
        """
        if not apart:
            return await self._settle(connection, reports)
        looks: dict[UUID, float] = {}
        # The order in which all transactions lock these rows.
        for webhook_id in sorted(reports):
            looks |= await self._settle_one(connection, webhook_id, reports[webhook_id])
        return looks

    async def _settle_one(self, connection: Connection, webhook_id: UUID, report: HealthReport) -> dict[UUID, float]:
        """Handles the errors of one receiver. Health that cannot be settled begins anew, because
        recording the results must not depend on it."""
        try:
            async with connection.transaction():
                return await self._settle(connection, {webhook_id: report})
        except Exception as error:
            if not is_of_a_row(error):
                raise
            _log.exception("a receiver's health cannot be worked with; it begins anew", webhook_id=str(webhook_id))
        try:
            async with connection.transaction():
                await _SQL.begin_anew.execute(connection, webhook_id=webhook_id)
        except Exception as error:
            if not is_of_a_row(error):
                raise
            _log.exception("nor can it begin anew", webhook_id=str(webhook_id))
        return {webhook_id: 0.0}

    async def _settle(self, connection: Connection, reports: Mapping[UUID, HealthReport]) -> dict[UUID, float]:
        if not reports:
            return {}
        rows = await _SQL.lock.fetch(connection, webhook_ids=list(reports))
        changes: list[tuple[asyncpg.Record, HealthChange]] = []
        for row in rows:
            observed = [observation.of(row["version"]) for observation in reports[row["webhook_id"]].observations]
            change = after(health_of(row).bounded(row["now"]), observed, row["now"], self._policy, self._rng)
            changes.append((row, change))
        if not changes:
            return {}
        await self._save(connection, changes, reports)
        written: list[Notice] = []
        for row, change in changes:
            silent = reports[row["webhook_id"]].silent
            written += await self._follow_up(connection, row, change, silent=silent)
        failing = [row["webhook_id"] for row, _ in changes if reports[row["webhook_id"]].failed]
        if failing:
            written += await _failures(connection, failing)
        await _write(connection, written)
        return dict(look for row, change in changes if (look := _next_look(row, change.health)) is not None)

    async def _save(
        self,
        connection: Connection,
        changes: Sequence[tuple[asyncpg.Record, HealthChange]],
        reports: Mapping[UUID, HealthReport],
    ) -> None:
        healths = [change.health for _, change in changes]
        webhook_ids = [row["webhook_id"] for row, _ in changes]
        await _SQL.save.execute(
            connection,
            webhook_ids=webhook_ids,
            failures=[health.failures for health in healths],
            failing_sinces=[health.failing_since for health in healths],
            failed_events=["{" + ",".join(map(str, health.failed_events)) + "}" for health in healths],
            opened_ats=[health.opened_at for health in healths],
            probe_ats=[health.probe_at for health in healths],
            failed_probes=[health.failed_probes for health in healths],
            probe_bys=[health.probe_by for health in healths],
            probe_untils=[health.probe_until for health in healths],
            probe_positions=[health.probe_position for health in healths],
            pauses=[health.pauses for health in healths],
            paused_untils=[health.paused_until for health in healths],
            failed=[reports[webhook_id].failed for webhook_id in webhook_ids],
            skipped=[reports[webhook_id].skipped for webhook_id in webhook_ids],
        )

    async def _follow_up(
        self, connection: Connection, row: asyncpg.Record, change: HealthChange, *, silent: bool
    ) -> Iterable[Notice]:
        webhook_id: UUID = row["webhook_id"]
        written: list[Notice] = []
        if change.recovered:
            _log.info("a webhook has recovered", webhook_id=str(webhook_id), failures=row["failures"])
            written.append(notices.recovered(row))
        elif change.health.opened_at is not None and row["opened_at"] is None:
            _log.warning("a webhook's breaker is open", webhook_id=str(webhook_id), failures=change.health.failures)
        if change.disable == "gone" or (change.disable == "failing" and self._clock.steady):
            since = change.since
            assert since is not None, "it comes with the reason"
            detail = notices.why_disabled(change.disable, since)
            if await _SQL.disable.fetchval(connection, webhook_id=webhook_id, reason=detail) is not None:
                _log.warning("a webhook was disabled", webhook_id=str(webhook_id), reason=detail)
                written.append(notices.disabled(row, change.disable, detail, since))
        return [] if silent else written


def _next_look(row: asyncpg.Record, health: Health) -> tuple[UUID, float] | None:
    if health.clean:
        return None if health_of(row).clean else (row["webhook_id"], 0.0)
    if health.probe_at is not None and health.probe_until is None:
        return row["webhook_id"], (health.probe_at - row["now"]).total_seconds()
    if health.opened_at is None and health.paused_until is not None:
        left = (health.paused_until - row["now"]).total_seconds()
        if left > 0 or health.probe_until is None:
            # At the end of the pause. Or at once, if the probe after it has failed without asking
            # for another.
            return row["webhook_id"], max(0.0, left)
    return None


async def announce(connection: Connection, webhook_ids: Sequence[UUID] | None) -> None:
    """Announces failures that came within a minute of the last announcement. `webhook_ids`: only of
    these; None: of all. Call it in a transaction."""
    await _write(connection, await _failures(connection, webhook_ids))


async def _failures(connection: Connection, webhook_ids: Sequence[UUID] | None) -> list[Notice]:
    rows = await _SQL.take_announcements.fetch(connection, webhook_ids=webhook_ids)
    return [notices.delivery_failed(row) for row in rows]


async def _write(connection: Connection, written: Sequence[Notice]) -> None:
    """Writes notices to the outbox, in the transaction that made the changes they report."""
    if written:
        subjects = [subject_of(notice.type, notice.data, None) for notice in written]
        await _SQL.write_notices.execute(
            connection,
            types=[notice.type for notice in written],
            datas=[subject.data for subject in subjects],
            **columns(subjects),
        )


def health_of(row: Row) -> Health:
    return Health(failed_events=tuple(row["failed_events"]), **{name: row[name] for name in _STATE})
