"""Retry-After: seconds, or a date compared with the response's own clock."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.policy import SLOW_DOWN, decide
from relay.rules.retry_after import retry_after_ms
from service.delivery.backoff import JITTER, MAX_DELAY_MS

NOW = datetime(2026, 2, 18, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, None),
        (b"Content-Type: text/plain", None),
        (b"Retry-After: 120", 120_000),
        (b"retry-after:0", 0),
        (b"RETRY-AFTER:  7 \r\nDate: nonsense", 7000),
        (b"Retry-After: 99999999999999999999999", MAX_DELAY_MS),
        (b"Retry-After: -5", None),
        (b"Retry-After: soon", None),
        (b"Retry-After: 1.5", None),
        (b"Retry-After: \xb2", None),
        (b"X-Retry-After: 5", None),
        # If the response has no date, our clock counts.
        (b"Retry-After: Wed, 18 Feb 2026 09:31:00 GMT", 60_000),
        (b"Retry-After: Wed, 18 Feb 2026 09:29:00 GMT", 0),
        # The receiver's clock is two hours behind, and the receiver asks for a minute.
        (b"Date: Wed, 18 Feb 2026 07:30:00 GMT\r\nRetry-After: Wed, 18 Feb 2026 07:31:00 GMT", 60_000),
        (b"Retry-After: Wed, 18 Feb 2099 09:31:00 GMT", MAX_DELAY_MS),
    ],
)
def test_it_is_read(headers: bytes | None, expected: int | None) -> None:
    assert retry_after_ms(headers, NOW) == expected


@given(st.binary(max_size=60))
def test_whatever_it_says_it_is_within_a_day_or_nothing(value: bytes) -> None:
    found = retry_after_ms(b"Retry-After: " + value, NOW)
    assert found is None or 0 <= found <= MAX_DELAY_MS


@given(st.integers(0, 86_400), st.integers(-10_000_000, 10_000_000))
def test_a_date_means_the_same_whatever_the_receivers_clock(seconds: int, skew: int) -> None:
    theirs = NOW + timedelta(seconds=skew)
    headers = f"Date: {format_datetime(theirs, usegmt=True)}\r\nRetry-After: {format_datetime(theirs + timedelta(seconds=seconds), usegmt=True)}"
    assert retry_after_ms(headers.encode(), NOW) == seconds * 1000


@given(st.integers(100, 599), st.none() | st.integers(0, MAX_DELAY_MS), st.integers(1, 30), st.integers(0, 20))
def test_no_retry_comes_sooner_than_was_asked_for(
    status: int, asked_ms: int | None, attempt: int, max_retries: int
) -> None:
    decision = decide(
        status, attempt=attempt, max_retries=max_retries, first_delay_ms=5000, rng=Random(1), retry_after_ms=asked_ms
    )
    if 200 <= status <= 299:
        assert decision.outcome == "success"
        assert decision.pause_ms is None
    elif status == 410:
        assert (decision.outcome, decision.gone) == ("failed", True)
    else:
        assert (decision.outcome == "retry") == (attempt <= max_retries)
        assert (decision.pause_ms is not None) == (status in SLOW_DOWN or asked_ms is not None)
    if decision.delay_ms is not None:
        assert decision.delay_ms >= (asked_ms or 0)
        assert 5000 * (1 - JITTER) <= decision.delay_ms <= MAX_DELAY_MS
