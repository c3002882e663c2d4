"""The database server's clock as a process sees it: what time it is there, and whether it has run steadily."""

import time
from datetime import UTC, datetime, timedelta

# What destroys (a partition, a delivery that is pending too long, an old session) waits until the clock has been steady so long.
STEADY_SECONDS = 3600.0
# Between two looks the clock may differ by so much from the time that has passed; a clock that is slewed stays far below.
_JUMP_SECONDS = 1.0
_SLEW = 0.1
# A machine that was suspended in between has a monotonic clock that stood still.
_LATELY_SECONDS = 60.0


class ServerClock:
    """It is compared with this process's monotonic clock whenever the server has told its time. A start counts as a jump: what
    happened before it, nobody has seen."""

    def __init__(self) -> None:
        self._steady_since = time.monotonic()
        # How often it has jumped.
        self.jumps = 0
        # The server's time minus the monotonic one lies between these, by the quickest answers since the last jump. It was told
        # last at that monotonic time.
        self._least = self._most = 0.0
        self._told_at: float | None = None

    def observe(self, told: datetime, asked: float, answered: float) -> float:
        """The server told its time in answer to what was asked and answered then, in monotonic seconds. Returns by how many seconds
        its clock has jumped since it was told last: 0 if it has not, negative where it was set back."""
        seconds = told.timestamp()
        least, most = seconds - answered, seconds - asked
        jump = 0.0
        if self._told_at is not None:
            tolerated = _JUMP_SECONDS + _SLEW * max(0.0, answered - self._told_at)
            if least > self._most + tolerated:
                jump = least - self._most
            elif most < self._least - tolerated:
                jump = most - self._least
        if jump:
            self._steady_since = answered
            self.jumps += 1
        elif self._told_at is not None and least <= self._most and most >= self._least:
            # A slow answer says less than a quick one before it, and must not set the time back.
            least, most = max(least, self._least), min(most, self._most)
        self._least, self._most, self._told_at = least, most, answered
        return jump

    @property
    def steady(self) -> bool:
        """Whether it has run steadily for an hour, as far as this process has seen."""
        return time.monotonic() - self._steady_since >= STEADY_SECONDS

    def now(self) -> datetime:
        """The server's time; this host's where the server has not told it lately."""
        if self._told_at is None or time.monotonic() - self._told_at > _LATELY_SECONDS:
            return datetime.now(UTC)
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=time.monotonic() + self._least)


# That of the one server that this process works with.
SERVER_CLOCK = ServerClock()
