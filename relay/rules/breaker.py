"""A receiver's health: its breaker, its pauses, and when its webhook is disabled. Pure:
observations in, health out.

A closed breaker opens after FAILURES failures in a row over at least EVENTS events. It is half-open
while one probe is out, which closes it or opens it again. Requests after a pause are probes, too:
one at a time, until one succeeds.
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
# Each probe waits longer than the last, up to this, or up to the first delay if that is longer.
SLOWEST_PROBE_MS = 10 * 60 * 1000
# If a receiver asks for fewer requests and gives no time, the pause lasts this long, and twice as
# long each further time in a row.
FIRST_PAUSE_MS = 1000
LONGEST_PAUSE_MS = 60 * 1000
# No pause and no probe is set later than this from now. The claim's SQL has the same number.
LATEST = timedelta(hours=25)

DisableReason = Literal["gone", "failing"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """`probe_ms`: the wait before the first probe. `disable_after`: a webhook whose breaker is open
    and that has failed for this long is made inactive."""

    probe_ms: int = 30_000
    disable_after: timedelta = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a webhook's receiver, as its attempts show it: the columns of `receiver_health`
    that attempts change."""

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
        """Corrects times that were written by a clock ahead of `now`. A failure cannot have begun
        later than `now`, and a pause or a probe that lies further ahead than LATEST is over."""
        return replace(
            self,
            failing_since=_not_after(self.failing_since, now, now),
            opened_at=_not_after(self.opened_at, now, now),
            probe_at=_not_after(self.probe_at, now + LATEST, now),
            paused_until=_not_after(self.paused_until, now + LATEST, now),
        )

    def may_send(self, now: datetime) -> bool:
        """Whether requests other than probes may be sent. The claim's SQL has the same rule."""
        return self.opened_at is None and (self.paused_until is None or self.paused_until <= now)


@dataclass(frozen=True, slots=True)
class Observation:
    """One result, as far as it concerns the receiver.

    - `pause_ms`: the pause that the receiver asked for. 0: it asked and gave no time. None: it did
      not ask.
    - `gone`: it answered 410.
    - `version`: the webhook's version when the request was made. None if it does not matter.
    - `sent`: False if nothing was sent. Then the result says only that a probe is over.
    """

    position: int
    success: bool
    probe: bool = False
    pause_ms: int | None = None
    gone: bool = False
    version: int | None = None
    sent: bool = True

    def of(self, version: int) -> "Observation":
        """This observation for a webhook that has this version now. If the webhook was changed
        since the request, its URL for example, the result says nothing about the receiver."""
        return self if self.version is None or self.version == version else replace(self, sent=False)


@dataclass(frozen=True, slots=True)
class HealthChange:
    """The health after some observations. `recovered`: the breaker was open before, and is closed
    now. `disable`: why the webhook is to be disabled, or None. `since`: when the failures began
    that disable it. `health` may have forgotten them because of a later success."""

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
    # A 410 counts even if the receiver answers other requests, which were in flight beside it,
    # otherwise.
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
    """A success clears all failures. A pause that still lasts stays, because requests that were in
    flight when the receiver asked for it do not end it. Only a probe does."""
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
        # Requests that were in flight when the breaker opened say nothing about the receiver's
        # present state. Only the probe does. A pause counts, whichever request's answer asked for
        # it.
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
    """If the breaker is open, its next probe waits for the end of a pause."""
    if health.probe_at is None or health.paused_until is None or health.probe_at >= health.paused_until:
        return health
    return replace(health, probe_at=health.paused_until)


def _paused(health: Health, asked_ms: int, now: datetime) -> Health:
    """Requests that are in flight together ask for the same pause. So the pause grows once for all
    of them."""
    still = health.paused_until is not None and health.paused_until > now
    pauses = health.pauses if still else health.pauses + 1
    until = _later(now, max(asked_ms, pause_ms(pauses)))
    return replace(
        health, pauses=pauses, paused_until=max(until, health.paused_until) if health.paused_until else until
    )


def pause_ms(pauses: int) -> int:
    """The pause if the receiver gives no time. `pauses`: 1 for the first in a row."""
    return min(FIRST_PAUSE_MS << min(pauses - 1, 16), LONGEST_PAUSE_MS)


def probe_delay_ms(first_ms: int, failed_probes: int, rng: Random) -> int:
    """Milliseconds until the next probe, with the jitter of retries."""
    slowest = min(max(SLOWEST_PROBE_MS, first_ms), MAX_DELAY_MS)
    return jittered(min(first_ms << min(failed_probes, 32), slowest), rng)


def _not_after(moment: datetime | None, latest: datetime, instead: datetime) -> datetime | None:
    return instead if moment is not None and moment > latest else moment


def _later(now: datetime, milliseconds: int) -> datetime:
    return now + timedelta(milliseconds=milliseconds)
