"""A webhook's retry policy after a change of some of its parts."""

from typing import Any

import pytest

from service.webhooks import rules

DOUBLING = rules.RetryPolicy(3, 5000)
ON_A_LADDER = rules.RetryPolicy(9, 5000, "standard")
ON_A_LIST = rules.RetryPolicy(2, 5000, None, (100, 200))


def _merged(before: rules.RetryPolicy, **given: Any) -> rules.RetryPolicy:
    wanted = {"max_retries": None, "retry_delay_ms": None, "schedule": None, "with_schedule": False, **given}
    return rules.merge_retry_policy(before, **wanted)


def test_with_a_schedule_the_retries_are_as_many_as_its_delays() -> None:
    for before in (DOUBLING, ON_A_LADDER, ON_A_LIST):
        assert _merged(before, schedule="standard", with_schedule=True) == ON_A_LADDER
        assert _merged(before, schedule=[100, 200], with_schedule=True) == ON_A_LIST
        assert _merged(before, schedule=[100, 200], with_schedule=True, max_retries=2) == ON_A_LIST


def test_what_is_left_out_of_a_retry_policy_stays() -> None:
    for before in (DOUBLING, ON_A_LADDER, ON_A_LIST):
        assert _merged(before) == before
        assert _merged(before, retry_delay_ms=100, max_retries=before.max_retries).retry_delay_ms == 100
        assert _merged(before, retry_delay_ms=100).schedule == before.schedule


def test_without_its_schedule_a_policy_doubles_again_and_keeps_its_number_of_retries() -> None:
    assert _merged(ON_A_LADDER, with_schedule=True) == rules.RetryPolicy(9, 5000)
    assert _merged(ON_A_LIST, with_schedule=True, max_retries=4) == rules.RetryPolicy(4, 5000)


def test_another_number_of_retries_than_the_schedules_is_refused() -> None:
    for before, wanted in (
        (DOUBLING, {"schedule": "standard", "with_schedule": True, "max_retries": 3}),
        (DOUBLING, {"schedule": [100], "with_schedule": True, "max_retries": 0}),
        (ON_A_LADDER, {"max_retries": 3}),
    ):
        with pytest.raises(ValueError, match="the length of the schedule"):
            _merged(before, **wanted)


def test_a_schedule_ends_while_the_event_is_kept() -> None:
    rules.check_schedule([86_400_000, 1000], 86_401)
    with pytest.raises(ValueError, match="86400 s"):
        rules.check_schedule([86_400_000, 100], 86_400)
