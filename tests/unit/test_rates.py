"""The speed that a relay reports of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.watch.rates import WINDOW_SECONDS, Rate


def test_a_rate_comes_close_to_what_goes_on_and_falls_when_nothing_does() -> None:
    rate = Rate(100.0)
    seen = [rate.update(50 * beat, 100.0 + beat) for beat in range(1, 61)]
    assert seen == sorted(seen)
    assert seen[0] < 10
    assert seen[-1] == pytest.approx(50, rel=0.01)
    idle = [rate.update(50 * 60, 160.0 + beat) for beat in range(1, 61)]
    assert idle == sorted(idle, reverse=True)
    assert idle[-1] < 1


@given(st.lists(st.tuples(st.floats(1e-6, 5 * WINDOW_SECONDS), st.integers(0, 10_000)), max_size=50))
def test_a_rate_is_never_below_zero_nor_above_what_ever_happened(beats: list[tuple[float, int]]) -> None:
    rate = Rate(0.0)
    at, count, fastest = 0.0, 0, 0.0
    for elapsed, more in beats:
        count, fastest = count + more, max(fastest, more / (at + elapsed - at))
        at += elapsed
        assert 0 <= rate.update(count, at) <= fastest * (1 + 1e-9)


def test_two_beats_at_the_same_moment_are_no_division_by_zero() -> None:
    rate = Rate(1.0)
    assert rate.update(5, 1.0) == 0.0
    assert rate.update(5, 2.0) > 0
