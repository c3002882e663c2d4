from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.platform.backoff import JITTER, MAX_DELAY_MS, retry_delay_ms

DELAY = st.integers(100, 60_000)
SEED = st.integers()


@given(DELAY, st.integers(1, 10_000), SEED)
def test_stays_within_its_bounds(first: int, retry: int, seed: int) -> None:
    exact = min(first * 2 ** (retry - 1), MAX_DELAY_MS)
    delay = retry_delay_ms(first, retry, Random(seed))
    assert round(exact * (1 - JITTER)) <= delay <= min(round(exact * (1 + JITTER)), MAX_DELAY_MS)


def test_is_jittered_over_the_whole_range() -> None:
    rng = Random(1)
    delays = [retry_delay_ms(5000, 1, rng) for _ in range(1000)]
    assert 4000 <= min(delays) < 4050
    assert 5950 < max(delays) <= 6000


@given(DELAY, st.integers(max_value=0), SEED)
def test_counts_retries_from_one(first: int, retry: int, seed: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        retry_delay_ms(first, retry, Random(seed))
