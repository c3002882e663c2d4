"""The decision that follows an attempt. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from service.delivery.backoff import retry_delay_ms, scheduled_delay_ms

Outcome = Literal["success", "retry", "failed", "expired", "cancelled"]

# A delivery that has lost this many leases is taken to be the one that crashes relays, and fails.
MAX_LOST_LEASES = 8


GONE = 410
# The receiver, or a proxy before it, is overloaded or away, so the whole webhook is slowed down.
SLOW_DOWN = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on an exchange.

    - `delay_ms` is set for a retry only.
    - `pause_ms` is the pause that the receiver asks for. 0: it asks and gives no time. None: it
      does not ask.
    - `gone`: the receiver says that it will never take anything again.
    """

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
    """Decides what follows an attempt.

    - `status`: the answer's. None if no answer came within the timeout.
    - `attempt`: 1 for the first under the present policy.
    - `schedule`: the delay before each retry in ms. It replaces `max_retries` and `first_delay_ms`.
    - `retry_after_ms`: the pause that the answer asked for. No retry comes sooner.
    """
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
    """Only a 2xx counts as delivered."""
    return status is not None and 200 <= status <= 299


def failure(status: int | None, error: str | None) -> str | None:
    """Why an exchange did not deliver, for the log. None if it did."""
    if error is not None:
        return error
    if status is None:
        return "no answer"
    if is_success(status):
        return None
    if 300 <= status <= 399:
        return f"the receiver answered {status}; a redirect is not followed"
    return f"the receiver answered {status}"
