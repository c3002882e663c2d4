"""What a transport is asked for, and what it gives back."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

MAX_BODY_KEPT = 8 * 1024
MAX_HEADERS_KEPT = 16 * 1024


@dataclass(slots=True)
class Exchange:
    """What happened. `status` is None if no answer came; `error` then says why. `headers` are lines as they came, without the
    status line. Times in microseconds, None where a phase was not reached or, on a connection that was kept alive, not needed.
    `first_byte_us` and `total_us` count from the start, the others are the length of their phase."""

    status: int | None = None
    headers: bytes | None = None
    body: bytes | None = None
    error: str | None = None
    dns_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us: int | None = None
    total_us: int = 0

    def measured(self) -> tuple[int | bytes | None, ...]:
        """How long each phase took, and the answer: dns, connect, tls, first byte, total, status, headers, body."""
        return (
            self.dns_us,
            self.connect_us,
            self.tls_us,
            self.first_byte_us,
            self.total_us,
            self.status,
            self.headers,
            self.body,
        )


# Called with what happened on the wire, or with a defect of ours.
OnExchange: TypeAlias = Callable[[Exchange | Exception], None]


class OpenRequest(Protocol):
    """A request under way."""

    def cancel(self) -> object:
        """Give it up. What came of it just before may still be reported."""


class Transport(ABC):
    @abstractmethod
    async def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, *, retry: int = 0
    ) -> Exchange:
        """Send, and never raise for what the other side does. `retry`: how many attempts failed before this one. A retry goes over
        a new connection, and to another address where the host has several."""

    def begin(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, ended: OnExchange, *, retry: int = 0
    ) -> OpenRequest:
        """`post` for callers that do not wait: `ended` is called once, maybe before this returns."""
        task = asyncio.create_task(self.post(url, headers, body, timeout_ms, retry=retry))
        task.add_done_callback(lambda task: _report(task, ended))
        return task

    @abstractmethod
    async def close(self) -> None: ...


def _report(task: "asyncio.Task[Exchange]", ended: OnExchange) -> None:
    if not task.cancelled():
        error = task.exception()
        if error is None:
            ended(task.result())
        elif isinstance(error, Exception):
            ended(error)


def one_line(text: str) -> str:
    """As the log and the API show it: without NUL, not too long."""
    return " ".join(text.replace("\x00", "").split())[:500]


def late(timeout_ms: int) -> str:
    return f"no complete answer within {timeout_ms} ms"


def microseconds(seconds: float) -> int:
    return min(int(seconds * 1_000_000), 2**31 - 1)
