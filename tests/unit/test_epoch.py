"""The decision of a process about the database's past, when it gets a new connection."""

from uuid import UUID

import pytest

from service.platform.epoch import Known, Seen, Verdict, judge

OLDER, PRESENT, NEWER = (Known(UUID(int=number), number * 1000) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("known", "seen", "verdict"),
    [
        # A plain reconnect, and a start.
        (PRESENT, Seen(PRESENT, found=True), "go on"),
        (PRESENT, Seen(PRESENT, found=None), "go on"),
        (None, Seen(PRESENT), "go on"),
        # The first process on a new database.
        (None, Seen(PRESENT, unknown=True, moved=True), "recognise"),
        # A failover without loss.
        (PRESENT, Seen(PRESENT, found=True, moved=True), "recognise"),
        # A disk snapshot put back, and a failover with loss.
        (PRESENT, Seen(PRESENT, found=False), "begin"),
        (PRESENT, Seen(PRESENT, found=False, moved=True), "begin"),
        # A process that has just started cannot tell a failover from a backup.
        (None, Seen(PRESENT, moved=True), "leave it to others"),
        (PRESENT, Seen(PRESENT, found=None, moved=True), "leave it to others"),
        # Other processes have begun a new epoch.
        (PRESENT, Seen(NEWER, found=False), "adopt"),
        (PRESENT, Seen(NEWER, found=None), "adopt"),
        (PRESENT, Seen(NEWER, found=True), "adopt"),
        # A backup from before the epoch that the process knows.
        (PRESENT, Seen(OLDER, found=False), "begin"),
        (PRESENT, Seen(OLDER, found=None), "begin"),
        # If nothing can be written, nothing can be decided.
        (PRESENT, Seen(PRESENT, found=False, moved=True, standby=True), "go on"),
    ],
)
def test_what_a_new_connection_shows(known: Known | None, seen: Seen, verdict: Verdict) -> None:
    assert judge(known, seen) == verdict
