import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.platform.clock import iso, iso_or_none
from service.platform.ids import PATIENCE_MS, new_id, parse_id
from tests.support.faketime import NOW, FakeClock


def test_ids_are_version_7_and_tell_their_time() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    assert made.version == 7
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_of_one_process_sort_as_they_were_made() -> None:
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)


def test_ids_follow_a_clock_that_is_set_back(tmp_path: Path) -> None:
    """If a process went on making ids of the future, its events would be refused until that time
    has come."""
    clock = FakeClock(tmp_path)
    script = """
import os, sys, time
from service.platform.ids import new_id
for line in sys.stdin:
    made = [new_id() for _ in range(100)]
    print(max(abs((each.int >> 80) - time.time() * 1000) for each in made) < 5000, len(set(made)), made == sorted(made), flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **clock.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = []
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for offset in (NOW, "+10d", NOW, "-10d", NOW):
            clock.leap(offset)
            process.stdin.write("\n")
            process.stdin.flush()
            lines.append(process.stdout.readline().split())
    # When the ids follow a clock that was set back, those of one millisecond need no order.
    assert [each[:2] for each in lines] == [["True", "100"]] * 5
    assert lines[0][2] == lines[1][2] == "True"


def test_ids_keep_their_order_while_the_clock_is_set_back_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [new_id()]
    real = time.time_ns
    monkeypatch.setattr("service.platform.ids.time.time_ns", lambda: real() - (PATIENCE_MS - 1000) * 1_000_000)
    made += [new_id() for _ in range(100)]
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
