"""What follows from an attempt. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from service.delivery.backoff import retry_delay_ms, scheduled_delay_ms

Outcome = Literal["success", "retry", "failed", "expired", "cancelled"]

# After this many leases that ended without a result the delivery itself is taken to be what kills relays.
MAX_LOST_LEASES = 8


GONE = 410
# The receiver, or what stands before it, has too much to do or is away: the whole webhook is slowed down.
SLOW_DOWN = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Decision:
    """`delay_ms` is set for a retry only. `pause_ms`: the receiver asks to be left alone for so long, 0 if it does not say for how
    long; None if it does not ask. `gone`: it says that it will never take anything again."""

    outcome: Outcome
    delay_ms: int | None = None
    pause_ms: int | None = None
    gone: bool = False


def decide(
    status: int | None,
    *,
    attempt: int,
    max_retries: int,
    first_delay_ms: int,
    rng: Random,
    schedule: Sequence[int] | None = None,
    retry_after_ms: int | None = None,
) -> Decision:
    """`status`: the answer's, None if none came within the timeout. `attempt`: 1 for the first under the present policy.
    `schedule`: the delay before each retry in ms, in the place of `max_retries` and `first_delay_ms`. `retry_after_ms`: what the
    answer asked for; no retry comes sooner."""
    if is_success(status):
        return Decision("success")
    if status == GONE:
        return Decision("failed", gone=True)
    pause_ms = (retry_after_ms or 0) if status in SLOW_DOWN or retry_after_ms is not None else None
    if attempt > (max_retries if schedule is None else len(schedule)):
        return Decision("failed", pause_ms=pause_ms)
    delay_ms = (
        retry_delay_ms(first_delay_ms, attempt, rng) if schedule is None else scheduled_delay_ms(schedule, attempt, rng)
    )
    return Decision("retry", max(delay_ms, retry_after_ms or 0), pause_ms)


def is_success(status: int | None) -> bool:
    """Delivered means a 2xx."""
    return status is not None and 200 <= status <= 299


def failure(status: int | None, error: str | None) -> str | None:
    """Why an exchange was not a delivery, for the log; None if it was one."""
    if error is not None:
        return error
    if status is None:
        return "no answer"
    if is_success(status):
        return None
    if 300 <= status <= 399:
        return f"the receiver answered {status}; a redirect is not followed"
    return f"the receiver answered {status}"
