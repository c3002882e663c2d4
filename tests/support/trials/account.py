"""The account of a trial, and the accounts of many as a table."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Account:
    """One row of the table. `lost` and `unexplained` must be 0."""

    fault: str
    times: int
    committed: int
    owed: int
    delivered: int
    lost: int
    duplicated: int
    unexplained: int
    recovered: list[float]
    slowest_commit: float
    # The longest time from an event's commit to its arrival at a receiver.
    slowest_event: float

    def check(self, *, may_repeat: bool) -> None:
        assert self.committed > 0
        assert self.lost == 0, self
        assert self.unexplained == 0, self
        assert may_repeat or self.duplicated == 0, self


def seconds(values: list[float], pick: Callable[[list[float]], float] = max) -> str:
    return f"{pick(values):.1f}" if values else "–"


HEADINGS = (
    "fault",
    "times",
    "committed",
    "owed",
    "delivered",
    "lost",
    "twice",
    "unexplained",
    "recovered in s",
    "slowest event",
    "slowest commit",
)


def table(accounts: list[dict[str, Any]]) -> list[str]:
    """The accounts as a table of Markdown. Seconds to recover are the median and the longest."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" + "|---:" * (len(HEADINGS) - 1) + "|"]
    for each in accounts:
        recovered = each["recovered"]
        spread = (
            f"{seconds(recovered, statistics.median)}, at most {seconds(recovered)}"
            if len(recovered) > 1
            else seconds(recovered)
        )
        cells = [each["fault"], each["times"], each["committed"], each["owed"], each["delivered"], each["lost"]]
        cells += [each["duplicated"], each["unexplained"], spread]
        cells += [f"{each[name]:.2f} s" for name in ("slowest_event", "slowest_commit")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines
