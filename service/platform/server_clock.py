"""The database server's clock, as a process sees it: its time, and whether it has run steadily."""

import time
from datetime import UTC, datetime, timedelta

# Old partitions, deliveries and sessions are removed only if the clock has been steady for this
# long.
STEADY_SECONDS = 3600.0
# Between two observations, the clock may deviate from the time that has passed by _JUMP_SECONDS,
# plus the part _SLEW of that time. A clock that is slewed stays far below that.
_JUMP_SECONDS = 1.0
_SLEW = 0.1
# After this time without an observation, the server's time is not computed any more: this machine
# may have been suspended, and then its monotonic clock stood still.
_LATELY_SECONDS = 60.0


class ServerClock:
    """Compares the server's clock with this process's monotonic clock, each time that a statement
    returns the server's time. The start of the process counts as a jump, because the process has
    not seen what happened before."""

    def __init__(self) -> None:
        self._steady_since = time.monotonic()
        # How often the clock has jumped.
        self.jumps = 0
        # The server's time minus the monotonic time lies between these two. The quickest answers
        # since the last jump have narrowed the range.
        self._least = self._most = 0.0
        # The monotonic time of the last observation.
        self._observed_at: float | None = None

    def observe(self, server_time: datetime, asked: float, answered: float) -> float:
        """Records that a statement has returned the server's time. `asked` and `answered` are the
        monotonic times, in seconds, just before and after the statement.

        Returns by how many seconds the server's clock has jumped since the last observation. That
        is 0 if it has not jumped, and negative if it was set back.
        """
        seconds = server_time.timestamp()
        least, most = seconds - answered, seconds - asked
        jump = 0.0
        if self._observed_at is not None:
            tolerated = _JUMP_SECONDS + _SLEW * max(0.0, answered - self._observed_at)
            if least > self._most + tolerated:
                jump = least - self._most
            elif most < self._least - tolerated:
                jump = most - self._least
        if jump:
            self._steady_since = answered
            self.jumps += 1
        elif self._observed_at is not None and least <= self._most and most >= self._least:
            # A slow answer is less precise than a quick one before it, and must not set the time
            # back.
            least, most = max(least, self._least), min(most, self._most)
        self._least, self._most, self._observed_at = least, most, answered
        return jump

    @property
    def steady(self) -> bool:
        """Whether the server's clock has run steadily for an hour, as far as this process has
        seen."""
        return time.monotonic() - self._steady_since >= STEADY_SECONDS

    def now(self) -> datetime:
        """The server's time, or this machine's if there was no observation within
        _LATELY_SECONDS."""
        if self._observed_at is None or time.monotonic() - self._observed_at > _LATELY_SECONDS:
            return datetime.now(UTC)
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=time.monotonic() + self._least)


# The clock of the one server that this process works with.
SERVER_CLOCK = ServerClock()
