"""How fast a counter goes up lately. Pure."""

import math

# What is this old counts for 1/e of what is new.
WINDOW_SECONDS = 10.0


class Rate:
    """An average a second whose weights fall with age, of a counter that begins with 0 at `at`, in seconds."""

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
