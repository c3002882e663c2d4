"""The breaker of a webhook's lane, and what else follows from how attempts end. Pure: lane and results in, lane out.

closed → open after FAILURES failures in a row over at least EVENTS events → half-open, while one probe is out → closed | open.
What goes after a pause is a probe, too: one at a time, until one succeeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Literal
from uuid import UUID

from service.delivery.backoff import MAX_DELAY_MS, jittered

FAILURES = 10
EVENTS = 3
# Probes come ever more seldom, up to this, or to the first delay where that is longer.
SLOWEST_PROBE_MS = 10 * 60 * 1000
# A receiver that asks for fewer requests and does not say for how long is left alone for this, doubled each time in a row.
FIRST_PAUSE_MS = 1000
LONGEST_PAUSE_MS = 60 * 1000
# No pause and no probe is set later than this from now; the claim has the same number.
LATEST = timedelta(hours=25)

DisableReason = Literal["gone", "failing"]


@dataclass(frozen=True, slots=True)
class Policy:
    """`probe_ms`: before the first probe. `disable_after`: so long without a success, and the webhook is made inactive."""

    probe_ms: int = 30_000
    disable_after: timedelta = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of `lanes`, as far as attempts change it."""

    failures: int = 0
    failing_since: datetime | None = None
    failed_events: tuple[int, ...] = ()
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    failed_probes: int = 0
    probe_by: UUID | None = None
    probe_until: datetime | None = None
    probe_position: int | None = None
    pauses: int = 0
    paused_until: datetime | None = None

    @property
    def clean(self) -> bool:
        return self.failures == 0 and self.pauses == 0

    def bounded(self, now: datetime) -> "Lane":
        """Without what a clock has left behind that was ahead of `now`: nothing has failed since later, and what can only be set
        sooner is over."""
        return replace(
            self,
            failing_since=_not_after(self.failing_since, now, now),
            opened_at=_not_after(self.opened_at, now, now),
            probe_at=_not_after(self.probe_at, now + LATEST, now),
            paused_until=_not_after(self.paused_until, now + LATEST, now),
        )

    def may_send(self, now: datetime) -> bool:
        """Whether anything but a probe may be sent. The claim says the same in SQL."""
        return self.opened_at is None and (self.paused_until is None or self.paused_until <= now)


@dataclass(frozen=True, slots=True)
class Seen:
    """One result. `pause_ms`: how long the receiver asked to be left alone, 0 if it did not say; None if it did not ask. `gone`: it
    answered 410. `version`: of the webhook as the request was made; None if that does not matter. Not `sent`: it says nothing of
    the receiver, only that a probe is over."""

    position: int
    success: bool
    probe: bool = False
    pause_ms: int | None = None
    gone: bool = False
    version: int | None = None
    sent: bool = True

    def of(self, version: int) -> "Seen":
        """What it says of a webhook of this version: nothing, if that has been changed since, its URL, say."""
        return self if self.version is None or self.version == version else replace(self, sent=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`recovered`: the lane was open before, and is not now; what it was like is in the lane that was given. `since`: when the
    failures began for which the webhook is to be disabled; the lane itself may have forgotten them by a later success."""

    lane: Lane
    recovered: bool = False
    disable: DisableReason | None = None
    since: datetime | None = None


def after(lane: Lane, results: Sequence[Seen], now: datetime, policy: Policy, rng: Random) -> Verdict:
    """The lane after these results, in the order in which they came."""
    was_open = lane.opened_at is not None
    recovered = False
    # A receiver that will take nothing any more has said so, whatever it answers to what was under way beside it.
    gone_since: datetime | None = None
    for seen in results:
        if not seen.sent:
            if seen.probe:
                lane = replace(lane, probe_by=None, probe_until=None)
        elif seen.success:
            recovered |= lane.opened_at is not None
            lane = _succeeded(lane, seen, now)
        else:
            lane = _failed(lane, seen, now, policy, rng)
            if seen.gone and gone_since is None:
                gone_since = lane.failing_since
    overdue = (
        lane.opened_at is not None
        and lane.failing_since is not None
        and now - lane.failing_since >= policy.disable_after
    )
    return Verdict(
        lane,
        recovered=was_open and recovered and lane.opened_at is None,
        disable="gone" if gone_since is not None else "failing" if overdue else None,
        since=gone_since or (lane.failing_since if overdue else None),
    )


def _succeeded(lane: Lane, seen: Seen, now: datetime) -> Lane:
    """All is forgotten but a pause that still lasts: what was under way when it was asked for does not end it, a probe does."""
    if seen.probe or lane.paused_until is None or lane.paused_until <= now:
        return Lane()
    return Lane(pauses=lane.pauses, paused_until=lane.paused_until)


def _failed(lane: Lane, seen: Seen, now: datetime, policy: Policy, rng: Random) -> Lane:
    events = lane.failed_events
    if seen.position not in events and len(events) < EVENTS:
        events = (*events, seen.position)
    lane = replace(lane, failures=lane.failures + 1, failing_since=lane.failing_since or now, failed_events=events)
    if seen.probe:
        lane = replace(lane, probe_by=None, probe_until=None)
    if seen.pause_ms is not None:
        lane = _paused(lane, seen.pause_ms, now)
    if lane.opened_at is not None:
        # What was under way when it opened says nothing of how it is now, only the probe does; a pause is kept to, whoever asks.
        return _reopened(lane, now, policy, rng) if seen.probe else _after_the_pause(lane)
    if lane.failures >= FAILURES and len(events) >= EVENTS:
        probe_at = _later(now, probe_delay_ms(policy.probe_ms, 0, rng))
        return _after_the_pause(replace(lane, opened_at=now, probe_at=probe_at, probe_by=None, probe_until=None))
    return lane


def _reopened(lane: Lane, now: datetime, policy: Policy, rng: Random) -> Lane:
    lane = replace(
        lane,
        probe_at=_later(now, probe_delay_ms(policy.probe_ms, lane.failed_probes + 1, rng)),
        failed_probes=lane.failed_probes + 1,
    )
    return _after_the_pause(lane)


def _after_the_pause(lane: Lane) -> Lane:
    """An open lane, whose probe waits for the end of a pause."""
    if lane.probe_at is None or lane.paused_until is None or lane.probe_at >= lane.paused_until:
        return lane
    return replace(lane, probe_at=lane.paused_until)


def _paused(lane: Lane, asked_ms: int, now: datetime) -> Lane:
    """Requests that were under way together ask for the same pause, so it grows once for all of them."""
    still = lane.paused_until is not None and lane.paused_until > now
    pauses = lane.pauses if still else lane.pauses + 1
    until = _later(now, max(asked_ms, pause_ms(pauses)))
    return replace(lane, pauses=pauses, paused_until=max(until, lane.paused_until) if lane.paused_until else until)


def pause_ms(pauses: int) -> int:
    """The pause that is made where the receiver does not say how long; `pauses`: 1 for the first in a row."""
    return min(FIRST_PAUSE_MS << min(pauses - 1, 16), LONGEST_PAUSE_MS)


def probe_delay_ms(first_ms: int, failed_probes: int, rng: Random) -> int:
    """Milliseconds until the next probe, with the jitter of retries."""
    slowest = min(max(SLOWEST_PROBE_MS, first_ms), MAX_DELAY_MS)
    return jittered(min(first_ms << min(failed_probes, 32), slowest), rng)


def _not_after(moment: datetime | None, latest: datetime, instead: datetime) -> datetime | None:
    return instead if moment is not None and moment > latest else moment


def _later(now: datetime, milliseconds: int) -> datetime:
    return now + timedelta(milliseconds=milliseconds)
