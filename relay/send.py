"""Sending what was claimed: sign, post, decide what follows, and hand the result to the recorder."""

import time
from datetime import timedelta
from random import Random

from relay.envelope import envelope, shown_headers
from relay.policy import MAX_LOST_LEASES, Decision, Outcome, decide, failure, is_success
from relay.record import Recorder
from relay.result import Lease, Moment, Result
from relay.retry_after import retry_after_ms
from relay.target import Target
from relay.transport import Transport
from service.platform.logs import get_logger

_log = get_logger(__name__)

# A lease lasts for the webhook's timeout and so much more (sql/queries/claim.sql has the same number). Who begins later than that
# may still be at it when the delivery is another's.
SPARE_SECONDS = 10.0


class Sender:
    def __init__(self, recorder: Recorder, transport: Transport) -> None:
        self._recorder = recorder
        self._transport = transport
        self._rng = Random()
        self.delivered = 0
        self.attempted = 0

    async def send(self, lease: Lease, target: Target | None, moment: Moment) -> bool:
        """False if nothing was done with the lease, as it had become too old."""
        if (end := _end_without_request(lease, target)) is not None:
            on_failure = target.on_failure if target else None
            self._recorder.add(Result(lease, Decision(end[0]), end[1], on_failure=on_failure))
            return True
        assert target is not None, "that would be an end"
        assert lease.data is not None, "and so would this"
        assert lease.occurred_at is not None, "and this"
        clock = time.monotonic()
        if (age := clock - moment.asked) > SPARE_SECONDS:
            # This process was stopped for a while, or the server took so long to grant it. Others may have taken it over.
            _log.warning("a lease is too old to be used", event_id=str(lease.event_id), seconds=round(age, 1))
            return False
        started_at = moment.now + timedelta(seconds=clock - moment.clock)
        sent = envelope(
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
        exchange = await self._transport.post(target.url, sent.headers, sent.body, target.timeout_ms)
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
        return True


def _end_without_request(lease: Lease, target: Target | None) -> tuple[Outcome, str] | None:
    if lease.lost_leases >= MAX_LOST_LEASES:
        return "failed", f"relay crashed: {lease.lost_leases} leases ended without a result"
    if lease.data is None or lease.occurred_at is None:
        return "expired", "the event is no longer in the log"
    if not lease.readable:
        return "cancelled", "its owner may no longer read it"
    if target is None or target.broken is not None:
        return "failed", "cannot sign: " + ((target.broken or "") if target else "the webhook is gone")
    return None
