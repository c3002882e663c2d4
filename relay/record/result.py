"""The path from a claim to a result: the lease of a delivery, the moment when it was granted, and
the result."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from relay.rules.breaker import Observation
from relay.rules.policy import Decision
from relay.transport import Exchange


class Lease(NamedTuple):
    """A delivery that this relay may send until the lease runs out."""

    webhook_id: UUID
    position: int
    fence: int
    event_id: UUID
    event_type: str
    event_at: datetime
    attempts: int
    attempts_before: int
    lost_leases: int
    lost_by: UUID | None
    data: str | None
    occurred_at: datetime | None
    traceparent: str | None
    # The delivery's place in the order of its webhook and item, if the webhook asks for order.
    item_id: UUID | None
    sequence: int | None
    # Whether the webhook's owner may still read the event's subject.
    readable: bool
    # Whether the delivery is a probe, because the breaker is open or the receiver was paused.
    probe: bool


class Moment(NamedTuple):
    """When leases were granted: at `now` by the database's clock. The statement was sent at
    `asked`, and its reply came at `clock`, both in monotonic seconds. `clock` is a little later
    than `now`. So a time that is computed from these two is never ahead of the database's."""

    now: datetime
    clock: float
    asked: float


@dataclass(slots=True)
class Result:
    """The result of a lease. `exchange` is None if nothing was sent. `error` says why it failed,
    and is None for a success."""

    lease: Lease
    decision: Decision
    error: str | None
    exchange: Exchange | None = None
    url: str | None = None
    request_headers: str | None = None
    started_at: datetime | None = None
    # The webhook's wish for an item's later events after one has failed for good: skip or block.
    on_failure: str | None = None
    # The webhook's version when the request was made.
    version: int | None = None

    @property
    def attempt(self) -> int:
        """The number in the envelope. An end without a request keeps the number of the requests
        before it."""
        return self.lease.attempts + (1 if self.exchange is not None else 0)

    @property
    def ends_in_order(self) -> bool:
        """Whether other deliveries of its item may wait for its end."""
        return self.lease.sequence is not None and self.decision.outcome != "retry"

    @property
    def blocks(self) -> bool:
        """Whether the item's later events wait until a person retries or skips this one."""
        return self.ends_in_order and self.decision.outcome == "failed" and self.on_failure == "block"

    @property
    def skips(self) -> bool:
        """Whether the item's later events follow although this one was not delivered."""
        return self.ends_in_order and self.decision.outcome == "failed" and self.on_failure == "skip"

    @property
    def observation(self) -> Observation | None:
        """The part of the result that concerns the receiver. None if nothing was sent and no probe
        ends."""
        if self.exchange is None:
            return Observation(self.lease.position, success=False, probe=True, sent=False) if self.lease.probe else None
        return Observation(
            self.lease.position,
            success=self.decision.outcome == "success",
            probe=self.lease.probe,
            pause_ms=self.decision.pause_ms,
            gone=self.decision.gone,
            version=self.version,
        )
