"""The recent speed of a counter. Pure."""

import math

# A count that is this old weighs 1/e of a new one.
WINDOW_SECONDS = 10.0


class Rate:
    """The average growth of a counter per second. Older growth weighs less. The counter is 0 at the
    time `at`, in seconds."""

    def __init__(self, at: float) -> None:
        self._at = at
        self._count = 0
        self._average = 0.0

    def update(self, count: int, at: float) -> float:
        elapsed = at - self._at
        if elapsed > 0:
            weight = 1 - math.exp(-elapsed / WINDOW_SECONDS)
            self._average += weight * ((count - self._count) / elapsed - self._average)
            self._count, self._at = count, at
        return self._average
