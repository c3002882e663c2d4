"""The result of one fan-out, read from the database's reply."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from relay.lead.doorbell import LeaderState
from relay.record.result import Lease, Moment

NEVER = Moment(datetime.fromtimestamp(0, UTC), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of one batch.

    - `taken`: how many outbox rows are gone, with those that were set aside.
    - `lanes`: lanes with something due that was leased to no relay.
    - `leases`: granted at `moment` to the relay that offered slots, for webhooks of these
      `versions`.
    """

    taken: int = 0
    events: int = 0
    deliveries: int = 0
    lanes: tuple[UUID, ...] = ()
    leases: tuple[Lease, ...] = ()
    versions: tuple[tuple[UUID, int], ...] = ()
    moment: Moment = NEVER
    # `full`: there may be more in the outbox. `wakes`: `lane_wakes` has requests of the API.
    full: bool = False
    wakes: bool = False
    # How the attempt to fall asleep ended. "work" if the leader made none.
    state: LeaderState = "work"


def _lease(
    webhook_id: UUID,
    fence: int,
    event_at: datetime,
    position: int,
    event_id: UUID,
    event_type: str,
    data: str,
    occurred_at: datetime,
    traceparent: str | None,
) -> Lease:
    return Lease(
        webhook_id=webhook_id,
        position=position,
        fence=fence,
        event_id=event_id,
        event_type=event_type,
        event_at=event_at,
        attempts=0,
        attempts_before=0,
        lost_leases=0,
        lost_by=None,
        data=data,
        occurred_at=occurred_at,
        traceparent=traceparent,
        item_id=None,
        sequence=None,
        readable=True,
        probe=False,
    )


def batch_of(done: asyncpg.Record, asked: float) -> Batch:
    """Reads the row of `fan_out`. `asked`: when the statement was sent, in monotonic seconds."""
    moment = Moment(done["claimed_at"], time.monotonic(), asked)
    leases: list[Lease] = []
    versions: tuple[tuple[UUID, int], ...] = ()
    if done["fences"] is not None:
        versions = tuple(dict.fromkeys(zip(done["webhook_ids"], done["versions"], strict=True)))
        names = ("event_positions", "event_ids", "event_types", "datas", "occurred_ats", "traceparents")
        events = {event[0]: event for event in zip(*(done[name] for name in names), strict=True)}
        event_at = done["event_at"]
        for webhook_id, position, fence in zip(done["webhook_ids"], done["positions"], done["fences"], strict=True):
            leases.append(_lease(webhook_id, fence, event_at, *events[position]))
    return Batch(
        taken=done["events"],
        events=done["events"],
        deliveries=done["deliveries"],
        lanes=tuple(dict.fromkeys(done["lanes"] or ())),
        leases=tuple(leases),
        versions=versions,
        moment=moment,
        full=done["more"],
        wakes=done["wakes"],
        state=done["state"] or "work",
    )
