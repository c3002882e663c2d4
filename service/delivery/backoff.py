"""How long a relay waits before each retry."""

from collections.abc import Sequence
from random import Random

JITTER = 0.2
# No delay is longer than this. Retry-After has the same bound.
MAX_DELAY_MS = 24 * 60 * 60 * 1000
STANDARD = "standard"
# The example schedule of the Standard Webhooks specification: 5 s, 5 min, 30 min, then 2, 5, 10,
# 14, 20 and 24 hours, a little over three days together. Its first entry, "immediately", is the
# first attempt and not listed here.
STANDARD_MS = tuple(seconds * 1000 for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))


def retry_delay_ms(first_delay_ms: int, retry: int, rng: Random) -> int:
    """Milliseconds before retry number `retry`, where 1 is the first. The delay doubles at each
    retry, has ± 20 % of jitter, and is at most a day."""
    if retry < 1:
        raise ValueError("retries are counted from 1")
    # A large count would make a huge integer before min() is applied, so the exponent is bounded.
    return jittered(min(first_delay_ms << min(retry - 1, 32), MAX_DELAY_MS), rng)


def scheduled_delay_ms(schedule: Sequence[int], retry: int, rng: Random) -> int:
    """Milliseconds before retry number `retry` of a schedule, where 1 is the first. The delay has
    ± 20 % of jitter and is at most a day."""
    if not 1 <= retry <= len(schedule):
        raise ValueError(f"retries are counted from 1, and this schedule has {len(schedule)}")
    return jittered(schedule[retry - 1], rng)


def schedule_of(ladder: str | None, delays_ms: Sequence[int] | None) -> tuple[int, ...] | None:
    """The delays in ms that a webhook's row names, or None if its delay doubles at each retry."""
    if ladder == STANDARD:
        return STANDARD_MS
    return None if delays_ms is None else tuple(delays_ms)


def jittered(delay_ms: int, rng: Random) -> int:
    return min(round(delay_ms * rng.uniform(1 - JITTER, 1 + JITTER)), MAX_DELAY_MS)
