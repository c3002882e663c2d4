"""CPU time from /proc: of processes, and of a PostgreSQL server with all its backends, including
those that have ended."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PPID, _UTIME, _STIME, _CUTIME, _CSTIME = 1, 11, 12, 13, 14


def _stat(pid: int | str) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the program's name; None if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def seconds(pids: Iterable[int]) -> float:
    """CPU seconds of the processes that still run."""
    ticks = 0
    for pid in pids:
        if (fields := _stat(pid)) is not None:
            ticks += int(fields[_UTIME]) + int(fields[_STIME])
    return ticks / _TICK


def server_seconds(postmaster: int) -> float:
    """CPU seconds of a server: of itself, its children, and the children that it has reaped."""
    own = _stat(postmaster)
    if own is None:
        return 0.0
    ticks = sum(int(own[field]) for field in (_UTIME, _STIME, _CUTIME, _CSTIME))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(entry.name)) is not None and int(fields[_PPID]) == postmaster:
            ticks += int(fields[_UTIME]) + int(fields[_STIME])
    return ticks / _TICK


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of a measured stretch, and its length in seconds. `relay` is the CPU of the
    relays, or of the process that is measured instead."""

    relay: float
    postgres: float
    receiver: float
    elapsed: float

    def per_delivery(self, deliveries: float) -> Mapping[str, float]:
        """In microseconds."""
        if deliveries <= 0:
            return {}
        return {"relay_us": self.relay / deliveries * 1e6, "postgres_us": self.postgres / deliveries * 1e6}

    @property
    def receiver_share(self) -> float:
        """The share of one core."""
        return self.receiver / self.elapsed if self.elapsed else 0.0
