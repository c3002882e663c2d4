"""Runs that take turns, and the figures of the table."""

import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.cpu import Cpu

# The units of figures in `more`. All others are milliseconds.
UNITS = {"api_us": "µs", "pg_us": "µs"}


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of one run. `value` is compared, `more` is reported beside it, and `cpu` is in
    microseconds a delivery."""

    value: float
    unit: str
    cpu: Mapping[str, float] = field(default_factory=dict)
    receiver_share: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def rate(cls, count: float, used: Cpu, **more: float) -> "Figure":
        """The rate of so many deliveries in the measured stretch."""
        return cls(count / used.elapsed, "/s", used.per_delivery(count), used.receiver_share, more)


@dataclass(frozen=True, slots=True)
class Target:
    kind: Literal["at least", "at most"]
    bound: float

    def met(self, value: float) -> bool:
        return value >= self.bound if self.kind == "at least" else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.kind == 'at least' else '≤'} {self.bound:g}"


@dataclass(slots=True)
class Row:
    """One line of the table. `ratios` has one ratio for each pair, and is empty if there is no
    reference. The target is compared with `judged`, or with the median ratio if that is None."""

    scenario: str
    reference: str = "–"
    target: Target | None = None
    ratios: list[float] = field(default_factory=list)
    judged: float | None = None
    absolute: str = ""
    cpu: str = ""
    raw: dict[str, list[Figure]] = field(default_factory=dict)
    failed: str | None = None

    @property
    def median(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> str:
        value = self.judged if self.judged is not None else self.median
        if self.failed is not None:
            return f"failed: {self.failed}"
        if self.target is None or value is None:
            return "reported"
        return "pass" if self.target.met(value) else "short"


Run = Callable[[], Awaitable[Figure]]


async def interleave(pairs: int, arms: Mapping[str, Run]) -> dict[str, list[Figure]]:
    """Run each arm once a round, in turn. The order is reversed every other round, so that a change
    of the machine over time affects all arms alike."""
    figures: dict[str, list[Figure]] = {name: [] for name in arms}
    for number in range(pairs):
        names = list(arms)
        for name in names if number % 2 == 0 else reversed(names):
            started = time.monotonic()
            figure = await arms[name]()
            figures[name].append(figure)
            say(
                f"  {number + 1}/{pairs} {name}: {shown(figure.value)} {figure.unit} ({time.monotonic() - started:.0f} s)"
            )
    return figures


def compared(
    scenario: str,
    figures: Mapping[str, Sequence[Figure]],
    subject: str,
    reference: str,
    target: Target | None,
    *,
    of: str | None = None,
) -> Row:
    """A row of subject ÷ reference, pair by pair. `of` names a figure in `more` to compare instead
    of the value."""
    ours, theirs = figures[subject], figures[reference]
    pairs = [(_value(one, of), _value(other, of)) for one, other in zip(ours, theirs, strict=True)]
    unit = ours[0].unit if of is None else UNITS.get(of, "ms")
    return Row(
        scenario,
        reference,
        target,
        [one / other for one, other in pairs if other],
        absolute=f"{_median(one for one, _ in pairs)} : {_median(other for _, other in pairs)} {unit}",
        cpu=cpu_text(ours),
        raw={subject: list(ours), reference: list(theirs)},
    )


def _value(figure: Figure, of: str | None) -> float:
    return figure.value if of is None else figure.more[of]


def _median(values: Iterable[float]) -> str:
    return shown(statistics.median(values))


def cpu_text(figures: Sequence[Figure], *, process: str = "relay", per: str | None = None) -> str:
    """CPU a delivery, the median of the runs. `process` and `per` name another process than the
    relay, and another unit than a delivery."""
    parts = []
    for name, label in (("relay_us", process), ("postgres_us", "PostgreSQL")):
        if values := [figure.cpu[name] for figure in figures if name in figure.cpu]:
            parts.append(f"{label} {statistics.median(values):.0f}")
    if not parts:
        return ""
    text = " + ".join(parts) + (f" µs {per}" if per else " µs")
    if shares := [figure.receiver_share for figure in figures if figure.receiver_share]:
        text += f"; receiver {statistics.median(shares):.0%} of a core"
    return text


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank. `values` need not be sorted."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def shown(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
