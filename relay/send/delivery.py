"""A delivery under way: sign it, post it, decide what follows, and pass the result to the
recorder."""

import time
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Literal, Protocol, TypeAlias

from relay.record.record import Recorder
from relay.record.result import Lease, Moment, Result
from relay.rules.policy import MAX_LOST_LEASES, Decision, Outcome, decide, failure, is_success
from relay.rules.retry_after import retry_after_ms
from relay.send.envelope import envelope, shown_headers
from relay.send.target import Target
from relay.transport import Exchange, OpenRequest, Transport
from relay.transport.exchange import one_line
from service.platform.logs import get_logger

_log = get_logger(__name__)

# A lease lasts for the webhook's timeout and so much more (sql/queries/claim.sql has the same
# number). A request that begins more than this after the lease was asked for could outlast the
# lease, and another relay might send the delivery meanwhile.
SPARE_SECONDS = 10.0

# How a delivery releases its lease. "recorded": its result is on its way to the database. "unused":
# nothing was sent, because the lease was too old. "cut off": the request was given up.
Release: TypeAlias = Literal["recorded", "unused", "cut off"]


class Holder(Protocol):
    """The part that holds the slot and the lease of a delivery while it is under way."""

    def release(self, delivery: "Delivery", how: Release) -> None:
        """Called once for each delivery that was begun, maybe before `begin` returns."""


@dataclass(slots=True)
class Outbound:
    """Shared by the deliveries of a relay. `delivered` and `attempted` count since the relay's
    start."""

    recorder: Recorder
    transport: Transport
    holder: Holder
    rng: Random = field(default_factory=Random)
    delivered: int = 0
    attempted: int = 0


class Delivery:
    """A delivery that this relay has leased, from the time when it holds a slot."""

    __slots__ = ("_over", "_request", "_sent", "_shared", "_started_at", "lease", "moment", "target")

    def __init__(self, shared: Outbound, lease: Lease, target: Target | None, moment: Moment) -> None:
        self._shared = shared
        self.lease = lease
        self.target = target
        self.moment = moment
        self._over = False
        self._request: OpenRequest | None = None

    def begin(self) -> None:
        """Sends the delivery, or ends it without a request."""
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - a defect of ours, or a row that nothing else has refused
            self._fail(error)

    def cancel(self) -> None:
        """Gives the delivery up. The result of its request is not recorded."""
        if self._request is not None:
            self._request.cancel()
        self._end("cut off")

    def _begin(self) -> None:
        lease, target, moment = self.lease, self.target, self.moment
        if (end := _end_without_request(lease, target)) is not None:
            self._record_without_request(*end)
            return
        assert target is not None, "that would be an end"
        assert lease.data is not None, "and so would this"
        assert lease.occurred_at is not None, "and this"
        clock = time.monotonic()
        if (age := clock - moment.asked) > SPARE_SECONDS:
            # This process was stopped for a while, or the server's reply took too long. Another
            # relay may have the delivery.
            _log.warning("a lease is too old to be used", event_id=str(lease.event_id), seconds=round(age, 1))
            self._end("unused")
            return
        started_at = self._started_at = moment.now + timedelta(seconds=clock - moment.clock)
        sent = self._sent = envelope(
            target,
            event_id=lease.event_id,
            event_type=lease.event_type,
            data=lease.data.encode(),
            occurred_at=lease.occurred_at,
            attempt=lease.attempts + 1,
            sequence=lease.sequence,
            timestamp=int(started_at.timestamp()),
            traceparent=lease.traceparent,
        )
        # A probe is sent because attempts failed, though maybe not those of this delivery. Events
        # that a replay sends again did not fail, so they use kept connections.
        retry = max(lease.attempts - lease.attempts_before, int(lease.probe))
        request = self._shared.transport.begin(
            target.url, sent.headers, sent.body, target.timeout_ms, self._answered, retry=retry
        )
        if not self._over:
            self._request = request

    def _answered(self, exchange: Exchange | Exception) -> None:
        # The request refers to this delivery. Drop it, so that they form no cycle.
        self._request = None
        if self._over:
            return
        if isinstance(exchange, Exception):
            self._fail(exchange)
            return
        try:
            self._record(exchange)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        else:
            self._end("recorded")

    def _record(self, exchange: Exchange) -> None:
        lease, target, shared = self.lease, self.target, self._shared
        assert target is not None, "it was sent there"
        headers = exchange.headers if not is_success(exchange.status) else None
        decision = decide(
            exchange.status,
            attempt=lease.attempts + 1 - lease.attempts_before,
            max_retries=target.max_retries,
            first_delay_ms=target.retry_delay_ms,
            schedule=target.schedule,
            rng=shared.rng,
            retry_after_ms=retry_after_ms(headers, self._started_at),
        )
        shared.attempted += 1
        shared.delivered += decision.outcome == "success"
        shared.recorder.add(
            Result(
                lease,
                decision,
                failure(exchange.status, exchange.error),
                exchange,
                target.url,
                shown_headers(target, self._sent),
                self._started_at,
                target.on_failure,
                target.version,
            )
        )

    def _fail(self, error: Exception) -> None:
        """Handles the errors of one delivery. Each ends this delivery only, and is its reason."""
        if self._over:
            return
        _log.error(
            "a delivery could not be made",
            webhook_id=str(self.lease.webhook_id),
            event_id=str(self.lease.event_id),
            exc_info=error,
        )
        why = f"the relay could not make this delivery: {type(error).__name__}: {error}"
        self._record_without_request("failed", one_line(why))

    def _record_without_request(self, outcome: Outcome, why: str) -> None:
        on_failure = self.target.on_failure if self.target else None
        self._shared.recorder.add(Result(self.lease, Decision(outcome), why, on_failure=on_failure))
        self._end("recorded")

    def _end(self, how: Release) -> None:
        self._request = None
        if not self._over:
            self._over = True
            self._shared.holder.release(self, how)


def _end_without_request(lease: Lease, target: Target | None) -> tuple[Outcome, str] | None:
    if lease.lost_leases >= MAX_LOST_LEASES:
        return "failed", f"relay crashed: {lease.lost_leases} leases ended without a result"
    if lease.data is None or lease.occurred_at is None:
        return "expired", "the event is no longer in the log"
    if not lease.readable:
        return "cancelled", "its owner may no longer read it"
    if target is None or target.broken is not None:
        return "failed", "cannot sign: " + (
            (target.broken or "") if target else "its webhook is gone or cannot be read"
        )
    return None
