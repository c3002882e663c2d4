"""When to try again."""

from random import Random

JITTER = 0.2
# A delay doubles at each retry; this is where it stops growing. Retry-After has the same bound.
MAX_DELAY_MS = 24 * 60 * 60 * 1000


def retry_delay_ms(first_delay_ms: int, retry: int, rng: Random) -> int:
    """Milliseconds before retry number `retry` (1 is the first): doubled each time, with jitter of ± 20 %, at most a day."""
    if retry < 1:
        raise ValueError("retries are counted from 1")
    # The exponent is bounded so that a large count does not make a huge integer first.
    delay = min(first_delay_ms << min(retry - 1, 32), MAX_DELAY_MS)
    return min(round(delay * rng.uniform(1 - JITTER, 1 + JITTER)), MAX_DELAY_MS)
