"""What is passed from a claim to a result: the lease of a delivery, when it was granted, and what came of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from relay.rules.breaker import Observation
from relay.rules.policy import Decision
from relay.transport import Exchange


class Lease(NamedTuple):
    """A delivery that this relay may send, until the lease runs out."""

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
    # Where it stands in the order of its webhook and item, if the webhook asks for one.
    item_id: UUID | None
    sequence: int | None
    # Whether the webhook's owner may still read what the event is about.
    readable: bool
    # Whether it goes out to find out how the receiver is, as the breaker is open, or was paused.
    probe: bool


class Moment(NamedTuple):
    """When leases were granted: `now` by the database's clock. Its answer came at `clock` in monotonic seconds, a little later, so
    that what is reckoned from there is never ahead of what the database writes itself; it was asked at `asked`."""

    now: datetime
    clock: float
    asked: float


@dataclass(slots=True)
class Result:
    """What came of a lease. `exchange` is None if nothing was sent; `error` is why it failed, None for a success."""

    lease: Lease
    decision: Decision
    error: str | None
    exchange: Exchange | None = None
    url: str | None = None
    request_headers: str | None = None
    started_at: datetime | None = None
    # What its webhook wants of an item's later events once one has failed for good.
    on_failure: str | None = None
    # Of the webhook as the request was made.
    version: int | None = None

    @property
    def attempt(self) -> int:
        """The number in the envelope; an end without a request keeps the count of those before it."""
        return self.lease.attempts + (1 if self.exchange is not None else 0)

    @property
    def ends_in_order(self) -> bool:
        """Others of its item may wait for its end."""
        return self.lease.sequence is not None and self.decision.outcome != "retry"

    @property
    def blocks(self) -> bool:
        """The item's later events wait until somebody retries or skips this one."""
        return self.ends_in_order and self.decision.outcome == "failed" and self.on_failure == "block"

    @property
    def skips(self) -> bool:
        """The item's later events follow, though this one was not delivered."""
        return self.ends_in_order and self.decision.outcome == "failed" and self.on_failure == "skip"

    @property
    def observation(self) -> Observation | None:
        """What it says of the receiver; None if nothing was sent, and nobody waits for the end of a probe."""
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
