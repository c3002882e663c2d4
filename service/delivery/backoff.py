"""When to try again."""

from collections.abc import Sequence
from random import Random

JITTER = 0.2
# A delay doubles at each retry; this is where it stops growing. Retry-After has the same bound.
MAX_DELAY_MS = 24 * 60 * 60 * 1000
STANDARD = "standard"
# The example schedule of the Standard Webhooks specification, without its first entry, "immediately", which is the first
# attempt: 5 s, 5 min, 30 min, then 2, 5, 10, 14, 20 and 24 hours, together a little over three days.
STANDARD_MS = tuple(seconds * 1000 for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))


def retry_delay_ms(first_delay_ms: int, retry: int, rng: Random) -> int:
    """Milliseconds before retry number `retry` (1 is the first): doubled each time, with jitter of ± 20 %, at most a day."""
    if retry < 1:
        raise ValueError("retries are counted from 1")
    # The exponent is bounded so that a large count does not make a huge integer first.
    return jittered(min(first_delay_ms << min(retry - 1, 32), MAX_DELAY_MS), rng)


def scheduled_delay_ms(schedule: Sequence[int], retry: int, rng: Random) -> int:
    """Milliseconds before retry number `retry` (1 is the first) of a schedule, with jitter of ± 20 %, at most a day."""
    if not 1 <= retry <= len(schedule):
        raise ValueError(f"retries are counted from 1, and this schedule has {len(schedule)}")
    return jittered(schedule[retry - 1], rng)


def schedule_of(ladder: str | None, delays_ms: Sequence[int] | None) -> tuple[int, ...] | None:
    """The delays that a webhook's row names, in ms; None where its retries double instead."""
    if ladder == STANDARD:
        return STANDARD_MS
    return None if delays_ms is None else tuple(delays_ms)


def jittered(delay_ms: int, rng: Random) -> int:
    return min(round(delay_ms * rng.uniform(1 - JITTER, 1 + JITTER)), MAX_DELAY_MS)
