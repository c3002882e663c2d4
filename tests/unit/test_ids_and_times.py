import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.platform.clock import iso, iso_or_none
from service.platform.ids import new_id, parse_id


def test_ids_are_version_7_and_tell_their_time() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    assert made.version == 7
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_of_one_process_sort_as_they_were_made() -> None:
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)


@pytest.mark.parametrize(
    "text", ["", "loc-123", "0190a0b0c0d07000800000000000000f", "{0190a0b0-c0d0-7000-8000-00000000000f}", "١"]
)
def test_only_the_canonical_spelling_is_an_id(text: str) -> None:
    assert parse_id(text) is None


def test_an_id_is_read_in_either_case() -> None:
    made = new_id()
    assert parse_id(str(made)) == parse_id(str(made).upper()) == made


def test_times_are_in_utc_with_milliseconds_cut_not_rounded() -> None:
    assert iso(datetime(2026, 2, 18, 1, 2, 3, 999_999, timezone(timedelta(hours=2)))) == "2026-02-17T23:02:03.999Z"
    assert iso(datetime(2026, 2, 18, tzinfo=UTC)) == "2026-02-18T00:00:00.000Z"
    assert iso_or_none(None) is None


@given(st.datetimes(timezones=st.timezones()))
def test_times_are_as_isoformat_has_them(moment: datetime) -> None:
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        return
    assert iso(moment) == utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
