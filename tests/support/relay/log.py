"""Writes events, deliveries and attempts as a relay would, for tests of the API."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from service.platform.ids import new_id


@dataclass(frozen=True, slots=True)
class Event:
    position: int
    id: UUID
    type: str
    recorded_at: datetime


class RelayLog:
    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def partition(self, day: datetime) -> None:
        """Makes partitions of both logs for a past day."""
        for parent in ("events", "attempts"):
            await self._connection.execute(
                # The partition exists already if midnight has passed since the tests began.
                f"create table if not exists {parent}_{day:%Y%m%d} partition of {parent}"
                f" for values from ('{day:%Y-%m-%d} 00:00+0') to ('{day:%Y-%m-%d} 24:00+0')"
            )

    async def event(
        self,
        webhook_id: str | UUID | None = None,
        *,
        type: str = "item-created",
        data: str = '{"itemId":"x","name":"Drill"}',
        at: datetime | None = None,
    ) -> Event:
        """An event in the log, which is queued if a webhook is given."""
        position = await self._connection.fetchval("update log_head set position = position + 1 returning position")
        row = await self._connection.fetchrow(
            """insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, deliveries,
                                   recorded_at)
               values ($1, $2, $1, $3, $4, coalesce($5, now()), 'inventory', '{}', '{}', 1, coalesce($5, now()))
               returning recorded_at""",
            position,
            new_id(),
            type,
            data,
            at,
        )
        assert row is not None
        event_id = await self._connection.fetchval("select id from events where position = $1", position)
        event = Event(position, event_id, type, row["recorded_at"])
        if webhook_id is not None:
            await self._connection.execute(
                "insert into deliveries (webhook_id, position, event_id, event_type, event_at) values ($1, $2, $3, $4, $5)",
                webhook_id,
                position,
                event.id,
                type,
                event.recorded_at,
            )
        return event

    async def attempt(
        self,
        webhook_id: str | UUID,
        event: Event,
        outcome: str,
        *,
        status: int | None = None,
        body: bytes | None = None,
        error: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Records the next attempt. A retry goes back into the queue, and an end leaves it and is
        counted."""
        async with self._connection.transaction():
            if outcome == "retry":
                attempt = await self._connection.fetchval(
                    """update deliveries set attempts = attempts + 1, next_attempt_at = now() + interval '5 s'
                        where webhook_id = $1 and position = $2 returning attempts""",
                    webhook_id,
                    event.position,
                )
            else:
                before = await self._connection.fetchval(
                    "delete from deliveries where webhook_id = $1 and position = $2 returning attempts",
                    webhook_id,
                    event.position,
                )
                # Ends without a request have the number of results before them.
                attempt = before + (outcome in {"success", "failed"})
            await self._connection.execute(
                """insert into attempts (webhook_id, position, event_id, event_type, event_at, attempt, outcome,
                                         next_attempt_at, started_at, status, response_body, error, recorded_at)
                   values ($1, $2, $3, $4, $5, $6, $7::text, case when $7 = 'retry' then now() + interval '5 s' end,
                           case when $7 in ('success', 'failed', 'retry') then coalesce($11, now()) end, $8, $9, $10,
                           coalesce($11, now()))""",
                webhook_id,
                event.position,
                event.id,
                event.type,
                event.recorded_at,
                attempt,
                outcome,
                status,
                body,
                error,
                at,
            )
            if outcome != "retry":
                await self._connection.execute(
                    """insert into delivery_counts as c (webhook_id, day, status, ended, current, last_at)
                       values ($1, (coalesce($3, now()) at time zone 'UTC')::date, $2, 1, 1, coalesce($3, now()))
                       on conflict (webhook_id, day, status) do update
                          set ended = c.ended + 1, current = c.current + 1, last_at = greatest(c.last_at, excluded.last_at)""",
                    webhook_id,
                    outcome,
                    at,
                )

    async def succeeded(self, webhook_id: str | UUID, *, at: datetime | None = None) -> Event:
        event = await self.event(webhook_id, at=at)
        await self.attempt(webhook_id, event, "success", status=200, body=b'{"received":true}', at=at)
        return event

    async def failed(self, webhook_id: str | UUID, *, at: datetime | None = None) -> Event:
        event = await self.event(webhook_id, at=at)
        await self.attempt(
            webhook_id, event, "failed", status=500, body=b"no", error="the receiver answered 500", at=at
        )
        return event

    async def ended(self, webhook_id: str | UUID, outcome: str) -> Event:
        event = await self.event(webhook_id)
        await self.attempt(webhook_id, event, outcome, error=f"it was {outcome}")
        return event
