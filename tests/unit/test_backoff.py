from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.delivery.backoff import (
    JITTER,
    MAX_DELAY_MS,
    STANDARD_MS,
    retry_delay_ms,
    schedule_of,
    scheduled_delay_ms,
)

DELAY = st.integers(100, 60_000)
SEED = st.integers()
SCHEDULE = st.lists(st.integers(100, MAX_DELAY_MS), min_size=1, max_size=20)


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


@given(st.one_of(SCHEDULE, st.just(list(STANDARD_MS))), st.data(), SEED)
def test_a_scheduled_delay_stays_within_its_bounds(schedule: list[int], data: st.DataObject, seed: int) -> None:
    retry = data.draw(st.integers(1, len(schedule)))
    exact = schedule[retry - 1]
    delay = scheduled_delay_ms(schedule, retry, Random(seed))
    assert round(exact * (1 - JITTER)) <= delay <= min(round(exact * (1 + JITTER)), MAX_DELAY_MS)


@given(SCHEDULE, SEED)
def test_a_schedule_has_no_retry_before_its_first_nor_after_its_last(schedule: list[int], seed: int) -> None:
    for retry in (0, len(schedule) + 1):
        with pytest.raises(ValueError, match="counted from 1"):
            scheduled_delay_ms(schedule, retry, Random(seed))


def test_the_standard_ladder_is_the_specifications() -> None:
    minute, hour = 60, 3600
    seconds = (5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour)
    assert tuple(delay / 1000 for delay in STANDARD_MS) == seconds
    # In the specification, the last attempt is 75:35:05 after the first.
    assert sum(STANDARD_MS) == (75 * hour + 35 * minute + 5) * 1000


def test_a_row_names_a_ladder_or_its_delays_or_neither() -> None:
    assert schedule_of("standard", None) == STANDARD_MS
    assert schedule_of(None, [100, 200]) == (100, 200)
    assert schedule_of(None, None) is None
