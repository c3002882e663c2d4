"""The interface of a transport: the request that it gets and the exchange that it returns."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

MAX_BODY_KEPT = 8 * 1024
MAX_HEADERS_KEPT = 16 * 1024


@dataclass(slots=True)
class Exchange:
    """The result of one request.

    - `status` is None if no answer came. Then `error` says why.
    - `headers` are the lines as they came, without the status line.
    - Times are in microseconds. A time is None if its phase was not reached, or was not needed on a
      kept connection.
    - `first_byte_us` and `total_us` count from the start. The others are the lengths of phases.
    """

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
        """The length of each phase, and the answer: dns, connect, tls, first byte, total, status,
        headers, body."""
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


# Called with the exchange, or with an exception that is a defect in our code.
OnExchange: TypeAlias = Callable[[Exchange | Exception], None]


class OpenRequest(Protocol):
    """A request under way."""

    def cancel(self) -> object:
        """Gives the request up. A result that came just before may still be reported."""


class Transport(ABC):
    @abstractmethod
    async def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, *, retry: int = 0
    ) -> Exchange:
        """Sends the request. Nothing that the other side does raises an exception. `retry`: how
        many attempts failed before this one. A retry uses a new connection, and another address if
        the host has several."""

    def begin(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, ended: OnExchange, *, retry: int = 0
    ) -> OpenRequest:
        """`post` for callers that do not wait. `ended` is called once, maybe before this
        returns."""
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
    """The text in the form that the log and the API show: one line, without NUL, at most 500
    characters."""
    return " ".join(text.replace("\x00", "").split())[:500]


def late(timeout_ms: int) -> str:
    return f"no complete answer within {timeout_ms} ms"


def microseconds(seconds: float) -> int:
    return min(int(seconds * 1_000_000), 2**31 - 1)
