"""Limits the clients' connections: how many there are, and how long each may take.

A client has a limited time to send a request's head, and to read its answer. aiohttp's server
limits neither the time nor the number, so a Guard stands between the server and each connection.
The guard sets no limit for the time from a request's head to its answer, so a long poll may wait.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import cast

from aiohttp import web

from service.api.client import is_in, parse_address
from service.api.problems import Handler
from service.platform.settings import Network, Settings

# Bytes a second. A client may take longer for a large body or answer, if it is at least this fast.
LEAST_RATE = 16 * 1024
# How many files a process has open besides its clients' connections.
OTHER_FILES = 100
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 21\r\n\r\ntoo many connections\n"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of connections.

    - `head_seconds` is for a request's head. It counts from the connect, or from the first byte of
      a later request, to the end of the head.
    - `answer_seconds` is for reading what was written, and is added to the time by LEAST_RATE.
    - `connections_per_peer` is for each address that `peer_of` returns.
    """

    head_seconds: float
    answer_seconds: float
    connections: int
    connections_per_peer: int
    trusted: Sequence[Network] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(
            settings.jossiedb_head_timeout / 1000,
            settings.jossiedb_body_timeout / 1000,
            settings.jossiedb_connections,
            settings.jossiedb_connections_per_peer,
            settings.jossiedb_trusted_proxies,
        )


class Connections:
    """Counts the clients' connections of one process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._most = min(limits.connections, _files(limits.connections + OTHER_FILES) - OTHER_FILES)
        self._count = 0
        self._by_peer: Counter[str] = Counter()

    def guarded(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], "Guard"]:
        """Wraps the protocol factory `make` for `loop.create_server`."""
        return lambda: Guard(make(), self)

    def enter(self, peer: str | None) -> bool:
        """Counts one more connection if there is room, and returns whether there was. `peer` is a
        result of peer_of."""
        if self._count >= self._most or (peer and self._by_peer[peer] >= self.limits.connections_per_peer):
            return False
        self._count += 1
        if peer:
            self._by_peer[peer] += 1
        return True

    def leave(self, peer: str | None) -> None:
        self._count -= 1
        if peer:
            self._by_peer[peer] -= 1
            if not self._by_peer[peer]:
                del self._by_peer[peer]


def peer_of(host: str | None, trusted: Sequence[Network]) -> str | None:
    """The client whose cap a connection counts towards: an IPv4 address, or a /64 network of IPv6.

    None if it counts towards no client's cap. A trusted proxy brings many clients. If no trusted
    proxy is set, a private address may belong to a proxy that is missing from the settings.
    """
    address = parse_address(host)
    if address is None or is_in(address, trusted) or (address.is_private and not trusted):
        return None
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address)


def body_seconds(timeout_ms: int, announced: int | None) -> float:
    """How many seconds a body may take. `announced` is its Content-Length, if it has one."""
    return max(timeout_ms / 1000, (announced or 0) / LEAST_RATE)


class Guard(asyncio.Protocol):
    """Passes everything on between a connection and aiohttp's protocol, and ends the connection if
    the client takes too long."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections
        self._limits = connections.limits
        self._transport: asyncio.Transport | None = None
        self._peer: str | None = None
        self._requests = 0
        self._head: asyncio.TimerHandle | None = None
        self._answer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        name = made.get_extra_info("peername")
        peer = peer_of(name[0], self._limits.trusted) if isinstance(name, tuple) else None
        if not self._connections.enter(peer):
            made.write(_FULL)
            made.close()
            return
        self._transport, self._peer = made, peer
        self._inner.connection_made(made)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if not self._requests and self._head is None:
            self._expect_head()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()
        if self._transport is not None and self._answer is None:
            seconds = self._limits.answer_seconds + self._transport.get_write_buffer_size() / LEAST_RATE
            self._answer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def resume_writing(self) -> None:
        self._cancel_answer()
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is None:
            return
        self._cancel_head()
        self._cancel_answer()
        self._connections.leave(self._peer)
        self._inner.connection_lost(error)

    def request_begun(self) -> None:
        """Call this when a head is complete. Bytes that arrive before the request has ended are its
        body, or belong to a request that waits. So they begin no deadline for a head."""
        self._requests += 1
        self._cancel_head()

    def request_ended(self) -> None:
        self._requests -= 1

    def _expect_head(self) -> None:
        assert self._transport is not None
        self._head = asyncio.get_running_loop().call_later(self._limits.head_seconds, self._transport.abort)

    def _cancel_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _cancel_answer(self) -> None:
        if self._answer is not None:
            self._answer.cancel()
            self._answer = None


def _files(wanted: int) -> int:
    """How many files this process may have open. Raises its limit towards `wanted`, as far as the
    system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most)


@web.middleware
async def connections_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Informs the connection's guard, if it has one, when a request begins and ends."""
    guard = request.transport.get_protocol() if request.transport is not None else None
    if not isinstance(guard, Guard):
        return await handler(request)
    guard.request_begun()
    try:
        return await handler(request)
    finally:
        guard.request_ended()
