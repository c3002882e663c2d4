"""What fan-out did, as the database tells it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from relay.lead.doorbell import LeaderState
from relay.record.result import Lease, Moment

NEVER = Moment(datetime.fromtimestamp(0, UTC), 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch did. `taken` counts outbox rows that are gone, those set aside included; `lanes` have something due that
    nobody was given; `leases` were given to who offered slots, at `moment`, for webhooks of these `versions`."""

    taken: int = 0
    events: int = 0
    deliveries: int = 0
    lanes: tuple[UUID, ...] = ()
    leases: tuple[Lease, ...] = ()
    versions: tuple[tuple[UUID, int], ...] = ()
    moment: Moment = NEVER
    # Whether there may be more, and whether somebody else gave lanes something to do.
    full: bool = False
    wakes: bool = False
    # How it left a leader that asked to fall asleep if this was all.
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


def of_few(events: Sequence[asyncpg.Record], said: asyncpg.Record, asked: float) -> Batch:
    """From the rows of `fan_out_few`, of which the last says how it went; `asked` at this time, in monotonic seconds."""
    moment = Moment(said["claimed_at"], time.monotonic(), asked)
    event_at = said["event_at"]
    leases: list[Lease] = []
    versions: dict[UUID, int] = {}
    lanes: dict[UUID, None] = {}
    deliveries = 0
    for event in events:
        # The first columns are a lease's, in their order.
        position, *what, queued, idle, webhook_ids, fences, its_versions = event[:11]
        deliveries += queued
        lanes.update(dict.fromkeys(idle or ()))
        for webhook_id, fence, version in zip(webhook_ids or (), fences or (), its_versions or (), strict=True):
            leases.append(_lease(webhook_id, fence, event_at, position, *what))
            versions[webhook_id] = version
    return Batch(
        taken=len(events),
        events=len(events),
        deliveries=deliveries,
        lanes=tuple(lanes),
        leases=tuple(leases),
        versions=tuple(versions.items()),
        moment=moment,
        wakes=said["wakes"],
        state=said["state"] or "work",
    )


def of_many(done: asyncpg.Record, asked: float) -> Batch:
    """From the row of `fan_out`."""
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
    events_moved = done["events"] or 0
    return Batch(
        taken=events_moved,
        events=events_moved,
        deliveries=done["deliveries"],
        lanes=tuple(done["lanes"] or ()),
        leases=tuple(leases),
        versions=versions,
        moment=moment,
    )
