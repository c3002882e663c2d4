"""A receiver's health: the breaker, and what else follows from how attempts end. Pure: observations
in, health out.

closed → open after FAILURES failures in a row over at least EVENTS events → half-open, while one
probe is out → closed | open. What goes after a pause is a probe, too: one at a time, until one
succeeds.
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
# A receiver that asks for fewer requests and does not say for how long is left alone for this,
# doubled each time in a row.
FIRST_PAUSE_MS = 1000
LONGEST_PAUSE_MS = 60 * 1000
# No pause and no probe is set later than this from now; the claim has the same number.
LATEST = timedelta(hours=25)

DisableReason = Literal["gone", "failing"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """`probe_ms`: before the first probe. `disable_after`: so long without a success, and the
    webhook is made inactive."""

    probe_ms: int = 30_000
    disable_after: timedelta = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Health:
    """What a webhook's attempts say about its receiver: a row of `receiver_health`,
    as far as attempts change it."""

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

    def bounded(self, now: datetime) -> "Health":
        """Without what a clock has left behind that was ahead of `now`: nothing has failed since
        later, and what can only be set sooner is over."""
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
class Observation:
    """What one result says about the receiver.

    `pause_ms`: how long the receiver asked to be left alone, 0 if it did not say; None if it did
    not ask. `gone`: it answered 410. `version`: the webhook's when the request was made; None if
    that does not matter. Not `sent`: it says nothing about the receiver, only that a probe is over.
    """

    position: int
    success: bool
    probe: bool = False
    pause_ms: int | None = None
    gone: bool = False
    version: int | None = None
    sent: bool = True

    def of(self, version: int) -> "Observation":
        """What it says of a webhook of this version: nothing, if that has been changed since, its
        URL, say."""
        return self if self.version is None or self.version == version else replace(self, sent=False)


@dataclass(frozen=True, slots=True)
class HealthChange:
    """The health after some observations. `recovered`: the breaker was open before, and is not now.
    `since`: when the failures began for which the webhook is to be disabled; `health` may have
    forgotten them because of a later success."""

    health: Health
    recovered: bool = False
    disable: DisableReason | None = None
    since: datetime | None = None


def after(
    health: Health, observations: Sequence[Observation], now: datetime, policy: BreakerPolicy, rng: Random
) -> HealthChange:
    """The health after these observations, in the order in which they came."""
    was_open = health.opened_at is not None
    recovered = False
    # A receiver that will take nothing any more has said so, whatever it answers to what was under
    # way beside it.
    gone_since: datetime | None = None
    for observation in observations:
        if not observation.sent:
            if observation.probe:
                health = replace(health, probe_by=None, probe_until=None)
        elif observation.success:
            recovered |= health.opened_at is not None
            health = _succeeded(health, observation, now)
        else:
            health = _failed(health, observation, now, policy, rng)
            if observation.gone and gone_since is None:
                gone_since = health.failing_since
    overdue = (
        health.opened_at is not None
        and health.failing_since is not None
        and now - health.failing_since >= policy.disable_after
    )
    return HealthChange(
        health,
        recovered=was_open and recovered and health.opened_at is None,
        disable="gone" if gone_since is not None else "failing" if overdue else None,
        since=gone_since or (health.failing_since if overdue else None),
    )


def _succeeded(health: Health, observation: Observation, now: datetime) -> Health:
    """All is forgotten but a pause that still lasts: what was under way when it was asked for does
    not end it, a probe does."""
    if observation.probe or health.paused_until is None or health.paused_until <= now:
        return Health()
    return Health(pauses=health.pauses, paused_until=health.paused_until)


def _failed(health: Health, observation: Observation, now: datetime, policy: BreakerPolicy, rng: Random) -> Health:
    events = health.failed_events
    if observation.position not in events and len(events) < EVENTS:
        events = (*events, observation.position)
    health = replace(
        health, failures=health.failures + 1, failing_since=health.failing_since or now, failed_events=events
    )
    if observation.probe:
        health = replace(health, probe_by=None, probe_until=None)
    if observation.pause_ms is not None:
        health = _paused(health, observation.pause_ms, now)
    if health.opened_at is not None:
        # What was under way when it opened says nothing of how it is now, only the probe does; a
        # pause is kept to, whoever asks.
        return _reopened(health, now, policy, rng) if observation.probe else _after_the_pause(health)
    if health.failures >= FAILURES and len(events) >= EVENTS:
        probe_at = _later(now, probe_delay_ms(policy.probe_ms, 0, rng))
        return _after_the_pause(replace(health, opened_at=now, probe_at=probe_at, probe_by=None, probe_until=None))
    return health


def _reopened(health: Health, now: datetime, policy: BreakerPolicy, rng: Random) -> Health:
    health = replace(
        health,
        probe_at=_later(now, probe_delay_ms(policy.probe_ms, health.failed_probes + 1, rng)),
        failed_probes=health.failed_probes + 1,
    )
    return _after_the_pause(health)


def _after_the_pause(health: Health) -> Health:
    """If the breaker is open, its probe waits for the end of a pause."""
    if health.probe_at is None or health.paused_until is None or health.probe_at >= health.paused_until:
        return health
    return replace(health, probe_at=health.paused_until)


def _paused(health: Health, asked_ms: int, now: datetime) -> Health:
    """Requests that were under way together ask for the same pause, so it grows once for all of
    them."""
    still = health.paused_until is not None and health.paused_until > now
    pauses = health.pauses if still else health.pauses + 1
    until = _later(now, max(asked_ms, pause_ms(pauses)))
    return replace(
        health, pauses=pauses, paused_until=max(until, health.paused_until) if health.paused_until else until
    )


def pause_ms(pauses: int) -> int:
    """The pause that is made where the receiver does not say how long; `pauses`: 1 for the first in
    a row."""
    return min(FIRST_PAUSE_MS << min(pauses - 1, 16), LONGEST_PAUSE_MS)


def probe_delay_ms(first_ms: int, failed_probes: int, rng: Random) -> int:
    """Milliseconds until the next probe, with the jitter of retries."""
    slowest = min(max(SLOWEST_PROBE_MS, first_ms), MAX_DELAY_MS)
    return jittered(min(first_ms << min(failed_probes, 32), slowest), rng)


def _not_after(moment: datetime | None, latest: datetime, instead: datetime) -> datetime | None:
    return instead if moment is not None and moment > latest else moment


def _later(now: datetime, milliseconds: int) -> datetime:
    return now + timedelta(milliseconds=milliseconds)
