"""What follows from an attempt. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from service.platform.backoff import retry_delay_ms, scheduled_delay_ms

Outcome = Literal["success", "retry", "failed", "expired", "cancelled"]

# After this many leases that ended without a result the delivery itself is taken to be what kills relays.
MAX_LOST_LEASES = 8


@dataclass(frozen=True, slots=True)
class Decision:
    """`delay_ms` is set for a retry only."""

    outcome: Outcome
    delay_ms: int | None = None


def decide(
    status: int | None,
    *,
    attempt: int,
    max_retries: int,
    first_delay_ms: int,
    rng: Random,
    schedule: Sequence[int] | None = None,
) -> Decision:
    """`status`: the answer's, None if none came within the timeout. `attempt`: 1 for the first under the present policy.
    `schedule`: the delay before each retry in ms, in the place of `max_retries` and `first_delay_ms`."""
    if status is not None and 200 <= status <= 299:
        return Decision("success")
    if attempt > (max_retries if schedule is None else len(schedule)):
        return Decision("failed")
    if schedule is not None:
        return Decision("retry", scheduled_delay_ms(schedule, attempt, rng))
    return Decision("retry", retry_delay_ms(first_delay_ms, attempt, rng))


def failure(status: int | None, error: str | None) -> str | None:
    """Why an exchange was not a delivery, for the log; None if it was one."""
    if error is not None:
        return error
    if status is None:
        return "no answer"
    if 200 <= status <= 299:
        return None
    if 300 <= status <= 399:
        return f"the receiver answered {status}; a redirect is not followed"
    return f"the receiver answered {status}"
