"""Whether the database's clock can be trusted, judged from its times and the durations of the
queries."""

from datetime import UTC, datetime, timedelta

import pytest

from service.platform import server_clock
from service.platform.server_clock import STEADY_SECONDS, ServerClock

NOON = datetime(2026, 2, 18, 12, tzinfo=UTC)


class Monotonic:
    """Stands in for the process's monotonic clock."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    mine = Monotonic()
    monkeypatch.setattr(server_clock, "time", mine)
    return mine


def _told(clock: ServerClock, time: Monotonic, seconds: float, *, took: float = 0.01, off: float = 0.0) -> float:
    """After this many seconds, the server reports its time, which is off by this much."""
    time.seconds += seconds
    return clock.observe(NOON + timedelta(seconds=time.seconds + off), time.seconds - took / 2, time.seconds + took / 2)


def test_a_start_counts_as_a_jump(time: Monotonic) -> None:
    clock = ServerClock()
    assert _told(clock, time, 0) == 0
    time.seconds += STEADY_SECONDS - 1
    assert not clock.steady
    time.seconds += 1
    assert clock.steady


@pytest.mark.parametrize("off", [3600.0, -3600.0, 864_000.0, -864_000.0, 5.0, -5.0])
def test_a_jump_is_noticed_in_either_direction_and_so_is_the_way_back(time: Monotonic, off: float) -> None:
    clock = ServerClock()
    _told(clock, time, 0)
    jumps, steady = [], []
    for seconds, now_off in ((STEADY_SECONDS + 1, 0.0), (1, off), (STEADY_SECONDS + 1, off), (1, 0.0)):
        jumps.append(_told(clock, time, seconds, off=now_off))
        steady.append(clock.steady)
    # The tolerance grows with the time between two looks.
    assert jumps == pytest.approx([0, off, 0, -off], abs=0.1)
    assert steady == [True, False, True, False]


def test_an_answer_that_takes_long_is_no_jump(time: Monotonic) -> None:
    clock = ServerClock()
    for took in (0.01, 60.0, 0.01):
        assert _told(clock, time, 61, took=took) == 0


def test_a_clock_that_is_slewed_is_steady(time: Monotonic) -> None:
    clock = ServerClock()
    for second in range(100):
        assert _told(clock, time, 1, off=second * 0.08) == 0


def test_the_servers_time_is_what_it_told_and_the_time_since(time: Monotonic) -> None:
    clock = ServerClock()
    _told(clock, time, 0, off=7200, took=0.0)
    time.seconds += 30
    assert clock.now() - (NOON + timedelta(seconds=time.seconds + 7200)) == pytest.approx(
        timedelta(0), abs=timedelta(milliseconds=1)
    )


def test_the_hosts_time_counts_where_the_server_has_not_told_its_own_lately(time: Monotonic) -> None:
    clock = ServerClock()
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)
    _told(clock, time, 0, off=7200)
    time.seconds += 61
    assert before <= clock.now() <= datetime.now(UTC)


def test_a_slow_answer_does_not_set_the_time_back(time: Monotonic) -> None:
    clock = ServerClock()
    _told(clock, time, 0, took=0.001)
    before = clock.now()
    _told(clock, time, 0, took=0.5)
    assert clock.now() >= before


def test_a_server_that_runs_slower_than_this_process_is_followed(time: Monotonic) -> None:
    clock = ServerClock()
    for second in range(1000):
        _told(clock, time, 1, took=0.001, off=-second / 1000)
    assert abs(clock.now() - (NOON + timedelta(seconds=time.seconds - 1))) < timedelta(seconds=0.01)
