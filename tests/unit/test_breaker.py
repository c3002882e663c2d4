"""The breaker of a health: the results that open and close it, and that only a probe goes out while
it is open."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.rules.breaker import (
    EVENTS,
    FAILURES,
    LONGEST_PAUSE_MS,
    SLOWEST_PROBE_MS,
    BreakerPolicy,
    Health,
    HealthChange,
    Observation,
    after,
    pause_ms,
    probe_delay_ms,
)
from service.delivery.backoff import JITTER
from service.platform.ids import new_id

NOW = datetime(2026, 2, 18, 9, 30, tzinfo=UTC)
POLICY = BreakerPolicy(probe_ms=30_000, disable_after=timedelta(days=5))
RNG = Random(1)


def failed(position: int, *, probe: bool = False, pause_ms: int | None = None, gone: bool = False) -> Observation:
    return Observation(position, success=False, probe=probe, pause_ms=pause_ms, gone=gone)


def opened() -> Health:
    return after(Health(), [failed(number % EVENTS) for number in range(FAILURES)], NOW, POLICY, RNG).health


def test_what_a_clock_left_behind_that_was_ahead_is_over_at_once() -> None:
    later = NOW + timedelta(days=10)
    health = Health(failures=10, failing_since=later, opened_at=later, probe_at=later, pauses=1, paused_until=later)
    bounded = health.bounded(NOW)
    assert (bounded.failing_since, bounded.opened_at, bounded.probe_at, bounded.paused_until) == (NOW, NOW, NOW, NOW)


def test_what_could_have_been_set_stays() -> None:
    day = NOW + timedelta(days=1)
    health = Health(failures=10, failing_since=NOW, opened_at=NOW, probe_at=day, pauses=1, paused_until=day)
    assert health.bounded(NOW) == health


def test_ten_failures_in_a_row_over_three_events_open_it() -> None:
    health = after(Health(), [failed(number % EVENTS) for number in range(FAILURES - 1)], NOW, POLICY, RNG).health
    assert health.opened_at is None
    health = after(health, [failed(0)], NOW, POLICY, RNG).health
    assert (health.opened_at, health.failing_since, health.failures) == (NOW, NOW, FAILURES)
    assert health.probe_at is not None
    assert timedelta(seconds=24) <= health.probe_at - NOW <= timedelta(seconds=36)


def test_one_event_that_fails_for_ever_does_not() -> None:
    health = after(Health(), [failed(number % (EVENTS - 1)) for number in range(100)], NOW, POLICY, RNG).health
    assert health.failures == 100
    assert health.opened_at is None


def test_a_success_begins_the_count_anew() -> None:
    results = [*(failed(n) for n in range(FAILURES - 1)), Observation(99, success=True), *(failed(n) for n in range(5))]
    health = after(Health(), results, NOW, POLICY, RNG).health
    assert (health.failures, health.opened_at) == (5, None)


def test_a_probe_that_fails_makes_the_next_one_come_later_and_one_that_succeeds_closes_it() -> None:
    once = after(opened(), [failed(7, probe=True)], NOW, POLICY, RNG)
    twice = after(once.health, [failed(7, probe=True)], NOW, POLICY, RNG)
    assert once.health.failed_probes == 1
    assert once.health.probe_at is not None
    assert twice.health.probe_at is not None
    assert timedelta(seconds=48) <= once.health.probe_at - NOW <= timedelta(seconds=72)
    assert timedelta(seconds=96) <= twice.health.probe_at - NOW <= timedelta(seconds=144)
    well = after(twice.health, [Observation(7, success=True, probe=True)], NOW, POLICY, RNG)
    assert well.recovered
    assert well.health == Health()


def test_what_was_under_way_when_it_opened_does_not_put_the_probe_off() -> None:
    health = opened()
    later = after(health, [failed(number) for number in range(50)], NOW + timedelta(seconds=5), POLICY, RNG).health
    assert (later.probe_at, later.failed_probes, later.opened_at) == (health.probe_at, 0, health.opened_at)


def test_a_success_of_a_lane_that_was_never_open_is_no_recovery() -> None:
    health = after(Health(), [failed(1)], NOW, POLICY, RNG).health
    change = after(health, [Observation(2, success=True)], NOW, POLICY, RNG)
    assert not change.recovered
    assert change.health == Health()


def test_opened_and_closed_within_one_batch_tells_nobody() -> None:
    results = [*(failed(number) for number in range(FAILURES)), Observation(99, success=True)]
    assert not after(Health(), results, NOW, POLICY, RNG).recovered


def test_gone_disables_at_once_and_five_days_of_failures_do() -> None:
    assert after(Health(), [failed(1, gone=True)], NOW, POLICY, RNG).disable == "gone"
    health = opened()
    nearly = after(health, [failed(1, probe=True)], NOW + POLICY.disable_after - timedelta(seconds=1), POLICY, RNG)
    assert nearly.disable is None
    assert after(health, [failed(1, probe=True)], NOW + POLICY.disable_after, POLICY, RNG).disable == "failing"


@pytest.mark.parametrize(
    "others", [[], [failed(2)], [Observation(2, success=True)], [Observation(2, success=True), failed(3)]]
)
def test_gone_is_gone_whatever_else_was_under_way(others: list[Observation]) -> None:
    for results in ([failed(1, gone=True), *others], [*others, failed(1, gone=True)]):
        change = after(Health(), results, NOW, POLICY, RNG)
        assert (change.disable, change.since) == ("gone", NOW)


def test_a_probe_that_was_not_sent_is_over_and_says_nothing() -> None:
    probing = replace(opened(), probe_by=UUID(int=1), probe_until=NOW + timedelta(minutes=1))
    change = after(probing, [Observation(1, success=False, probe=True, sent=False)], NOW, POLICY, RNG)
    assert change.health == replace(probing, probe_by=None, probe_until=None)
    assert after(Health(), [Observation(1, success=False, sent=False)], NOW, POLICY, RNG).health == Health()


def test_what_was_sent_before_the_webhook_was_changed_says_nothing_of_it_now() -> None:
    gone = Observation(1, success=False, gone=True, version=3)
    assert after(Health(), [gone.of(4)], NOW, POLICY, RNG) == HealthChange(Health())
    assert after(Health(), [gone.of(3)], NOW, POLICY, RNG).disable == "gone"
    assert Observation(1, success=True).of(9) == Observation(1, success=True)


def test_two_failures_five_days_apart_do_not_disable() -> None:
    health = after(Health(), [failed(1)], NOW, POLICY, RNG).health
    assert after(health, [failed(2)], NOW + timedelta(days=9), POLICY, RNG).disable is None


def test_a_pause_grows_once_for_what_was_under_way_together_and_a_success_ends_it() -> None:
    health = after(Health(), [failed(number, pause_ms=0) for number in range(5)], NOW, POLICY, RNG).health
    assert (health.pauses, health.paused_until) == (1, NOW + timedelta(seconds=1))
    assert not health.may_send(NOW)
    again = after(health, [failed(9, pause_ms=0)], NOW + timedelta(seconds=2), POLICY, RNG).health
    assert (again.pauses, again.paused_until) == (2, NOW + timedelta(seconds=4))
    over = NOW + timedelta(seconds=4)
    assert after(again, [Observation(9, success=True)], over, POLICY, RNG).health == Health()
    # During the pause, only a probe counts more than the answer that asked for the pause. A manual
    # test is a probe, too.
    assert after(again, [Observation(9, success=True, probe=True)], NOW, POLICY, RNG).health == Health()


def test_a_success_that_was_under_way_does_not_end_a_pause() -> None:
    change = after(Health(), [failed(1, pause_ms=60_000), Observation(2, success=True)], NOW, POLICY, RNG)
    assert change.health == Health(pauses=1, paused_until=NOW + timedelta(seconds=60))
    assert not change.health.may_send(NOW)


def test_a_pause_that_was_asked_for_is_kept_to() -> None:
    health = after(Health(), [failed(1, pause_ms=90_000), failed(2, pause_ms=0)], NOW, POLICY, RNG).health
    assert health.paused_until == NOW + timedelta(seconds=90)


def test_a_probe_waits_for_the_end_of_a_pause() -> None:
    health = after(opened(), [failed(1, probe=True, pause_ms=3_600_000)], NOW, POLICY, RNG).health
    assert health.probe_at == health.paused_until == NOW + timedelta(hours=1)


def test_the_first_probe_waits_for_the_end_of_a_pause_too_and_for_one_asked_for_later() -> None:
    paused = [failed(number % EVENTS, pause_ms=3_600_000) for number in range(FAILURES)]
    health = after(Health(), paused, NOW, POLICY, RNG).health
    assert health.opened_at == NOW
    assert health.probe_at == health.paused_until == NOW + timedelta(hours=1)
    health = after(opened(), [failed(1, pause_ms=3_600_000)], NOW, POLICY, RNG).health
    assert health.probe_at == health.paused_until == NOW + timedelta(hours=1)


@given(st.integers(1, 1000))
def test_a_pause_stays_within_its_bounds(pauses: int) -> None:
    assert 1000 <= pause_ms(pauses) <= LONGEST_PAUSE_MS


@given(st.integers(100, 3_600_000), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_probes_stay_within_their_bounds(first_ms: int, failed_probes: int, rng: Random) -> None:
    delay = probe_delay_ms(first_ms, failed_probes, rng)
    assert first_ms * (1 - JITTER) - 1 <= delay <= max(SLOWEST_PROBE_MS, first_ms) * (1 + JITTER) + 1


SEEN = st.one_of(
    st.builds(Observation, st.integers(0, 5), success=st.just(value=True), probe=st.booleans()),
    st.builds(
        Observation,
        st.integers(0, 5),
        success=st.just(value=False),
        probe=st.booleans(),
        pause_ms=st.none() | st.integers(0, 86_400_000),
        gone=st.booleans(),
    ),
)


@given(st.lists(st.tuples(st.lists(SEEN, min_size=1, max_size=15), st.integers(0, 100_000)), max_size=20), st.randoms())
def test_it_never_sends_while_open_and_keeps_to_what_its_table_allows(
    batches: list[tuple[list[Observation], int]], rng: Random
) -> None:
    health, now = Health(), NOW
    in_a_row = 0
    for batch, seconds in batches:
        before, now = health, now + timedelta(seconds=seconds)
        change = after(before, batch, now, POLICY, rng)
        health = change.health
        assert (change.disable is None) == (change.since is None)
        assert not any(observation.gone for observation in batch) or change.disable == "gone"
        for observation in batch:
            in_a_row = 0 if observation.success else in_a_row + 1
        assert health.failures == in_a_row
        # Only a success closes an open breaker.
        if before.opened_at is not None and not any(observation.success for observation in batch):
            assert health.opened_at == before.opened_at
            assert health.probe_at is not None
            assert before.probe_at is not None
            unmoved = max(before.probe_at, health.paused_until or before.probe_at)
            assert health.probe_at == unmoved or any(observation.probe for observation in batch)
        if health.opened_at is not None:
            assert not health.may_send(now + timedelta(days=365))
            assert in_a_row >= FAILURES
            assert health.probe_at is not None
            assert health.paused_until is None or health.probe_at >= health.paused_until
        # The constraints of the table say the same.
        assert (health.failures == 0) == (health.failing_since is None)
        assert health.failures > 0 or health.failed_events == ()
        assert len(health.failed_events) == len(set(health.failed_events)) <= EVENTS
        assert (health.opened_at is None) == (health.probe_at is None)
        assert health.opened_at is not None or health.failed_probes == 0
        assert health.opened_at is not None or health.pauses > 0 or health.probe_by is None
        assert (health.pauses > 0) >= (health.paused_until is not None)


@pytest.mark.parametrize("probe", [False, True])
def test_a_lease_of_a_probe_ends_with_its_result(probe: bool) -> None:
    relay_id, until = new_id(), NOW + timedelta(seconds=40)
    health = replace(opened(), probe_by=relay_id, probe_until=until)
    later = after(health, [failed(1, probe=probe)], NOW, POLICY, RNG).health
    assert (later.probe_by, later.probe_until) == ((None, None) if probe else (relay_id, until))


@pytest.mark.parametrize("probe", [False, True])
def test_what_goes_after_a_pause_is_over_with_its_own_result_only(probe: bool) -> None:
    relay_id, until = new_id(), NOW + timedelta(seconds=40)
    paused = after(Health(), [failed(1, pause_ms=0)], NOW, POLICY, RNG).health
    later = NOW + timedelta(seconds=2)
    trying = replace(paused, probe_by=relay_id, probe_until=until)
    health = after(trying, [failed(2, probe=probe)], later, POLICY, RNG).health
    assert (health.probe_by, health.probe_until) == ((None, None) if probe else (relay_id, until))
    assert (health.pauses, health.paused_until) == (1, paused.paused_until)
    assert after(trying, [Observation(2, success=True, probe=probe)], later, POLICY, RNG).health == Health()
    unsent = after(trying, [Observation(2, success=False, probe=True, sent=False)], later, POLICY, RNG).health
    assert unsent == paused


def test_a_breaker_that_opens_while_something_goes_after_a_pause_is_open_and_not_half_open() -> None:
    trying = replace(
        opened(), opened_at=None, probe_at=None, pauses=1, probe_by=new_id(), probe_until=NOW + timedelta(seconds=40)
    )
    health = after(trying, [failed(8)], NOW, POLICY, RNG).health
    assert health.opened_at == NOW
    assert (health.probe_by, health.probe_until) == (None, None)
