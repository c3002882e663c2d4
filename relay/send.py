"""Sending what was claimed: sign, post, decide what follows, and hand the result to the recorder."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Literal, TypeAlias

from relay.envelope import Envelope, envelope, shown_headers
from relay.policy import MAX_LOST_LEASES, Decision, Outcome, decide, failure, is_success
from relay.record import Recorder
from relay.result import Lease, Moment, Result
from relay.retry_after import retry_after_ms
from relay.target import Target
from relay.transport import Exchange, OpenRequest, Transport
from relay.transport.exchange import one_line
from service.platform.logs import get_logger

_log = get_logger(__name__)

# A lease lasts for the webhook's timeout and so much more (sql/queries/claim.sql has the same number). Who begins later than that
# may still be at it when the delivery is another's.
SPARE_SECONDS = 10.0

# How a lease ended here: with a result; unused, as it had become too old; or given up on the way.
End: TypeAlias = Literal["done", "unused", "cut off"]


class Delivery:
    """A lease that this relay has, from the moment on at which it holds a slot. `on_end` is told once how that ended."""

    __slots__ = ("_call", "_on_end", "_sender", "_sent", "_started_at", "lease", "moment", "target")

    def __init__(
        self,
        sender: "Sender",
        lease: Lease,
        target: Target | None,
        moment: Moment,
        on_end: "Callable[[Delivery, End], None]",
    ) -> None:
        self._sender = sender
        self.lease = lease
        self.target = target
        self.moment = moment
        self._on_end: Callable[[Delivery, End], None] | None = on_end
        self._call: OpenRequest | None = None

    def begin(self) -> None:
        """Send it, if it is to be sent."""
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - a defect of ours, or a row that nothing else has refused
            self._fail(error)

    def cancel(self) -> None:
        """Give it up, whatever has become of it on the way."""
        if self._call is not None:
            self._call.cancel()
        self._end("cut off")

    def _begin(self) -> None:
        lease, target, moment = self.lease, self.target, self.moment
        if (end := _end_without_request(lease, target)) is not None:
            self._sender.without_request(lease, target, *end)
            self._end("done")
            return
        assert target is not None, "that would be an end"
        assert lease.data is not None, "and so would this"
        assert lease.occurred_at is not None, "and this"
        clock = time.monotonic()
        if (age := clock - moment.asked) > SPARE_SECONDS:
            # This process was stopped for a while, or the server took so long to grant it. Others may have taken it over.
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
        # A probe goes out because attempts failed, if not of this delivery. Events that a replay sends again did not fail, and go
        # over kept connections.
        retry = max(lease.attempts - lease.attempts_before, int(lease.probe))
        call = self._sender.transport.begin(
            target.url, sent.headers, sent.body, target.timeout_ms, self._answered, retry=retry
        )
        if self._on_end is not None:
            self._call = call

    def _answered(self, exchange: Exchange | Exception) -> None:
        # It refers to this one.
        self._call = None
        if self._on_end is None:
            return
        if isinstance(exchange, Exception):
            self._fail(exchange)
            return
        assert self.target is not None, "it was sent there"
        try:
            self._sender.answered(self.lease, self.target, self._sent, self._started_at, exchange)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        else:
            self._end("done")

    def _fail(self, error: Exception) -> None:
        """The boundary around one delivery: whatever goes wrong in it is its own end, and says why."""
        if self._on_end is None:
            return
        _log.error(
            "a delivery could not be made",
            webhook_id=str(self.lease.webhook_id),
            event_id=str(self.lease.event_id),
            exc_info=error,
        )
        why = f"the relay could not make this delivery: {type(error).__name__}: {error}"
        self._sender.without_request(self.lease, self.target, "failed", one_line(why))
        self._end("done")

    def _end(self, end: "End") -> None:
        self._call = None
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self, end)


class Sender:
    def __init__(self, recorder: Recorder, transport: Transport) -> None:
        self.transport = transport
        self._recorder = recorder
        self._rng = Random()
        self.delivered = 0
        self.attempted = 0

    def without_request(self, lease: Lease, target: Target | None, outcome: Outcome, why: str) -> None:
        on_failure = target.on_failure if target else None
        self._recorder.add(Result(lease, Decision(outcome), why, on_failure=on_failure))

    def answered(self, lease: Lease, target: Target, sent: Envelope, started_at: datetime, exchange: Exchange) -> None:
        headers = exchange.headers if not is_success(exchange.status) else None
        decision = decide(
            exchange.status,
            attempt=lease.attempts + 1 - lease.attempts_before,
            max_retries=target.max_retries,
            first_delay_ms=target.retry_delay_ms,
            schedule=target.schedule,
            rng=self._rng,
            retry_after_ms=retry_after_ms(headers, started_at),
        )
        self.attempted += 1
        self.delivered += decision.outcome == "success"
        self._recorder.add(
            Result(
                lease,
                decision,
                failure(exchange.status, exchange.error),
                exchange,
                target.url,
                shown_headers(target, sent),
                started_at,
                target.on_failure,
                target.version,
            )
        )


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
