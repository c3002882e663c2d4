"""The relay's own HTTP client: POST over HTTP/1.1, on kept connections."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from relay.rules.endpoint import Endpoint, Origin, parse
from relay.transport.addresses import AddressOrder
from relay.transport.connection import LATE, SILENT, Connection, Post
from relay.transport.dial import Dialer
from relay.transport.exchange import Exchange, OnExchange, OpenRequest, Transport, late, microseconds, one_line
from relay.transport.pool import ConnectionPool
from relay.transport.resolver import Resolver
from relay.transport.tls import client_context

MAX_ENDPOINTS = 10_000
# If the other side had closed a kept connection, its silence shows at once, or after one round
# trip. If a connection ends later than this, the receiver was at work on the request.
STALE_SECONDS = 1.0
# From this status on, the server has failed, and another address may lead to another server.
SERVER_ERROR = 500


class HttpTransport(Transport):
    """Create it inside a running loop. `tls` has the trusted authorities; by default, the
    system's."""

    def __init__(
        self,
        allowed: Sequence[IPv4Network | IPv6Network],
        *,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        pool: ConnectionPool | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._resolver = resolver or Resolver()
        self.pool = pool or ConnectionPool()
        self._order = AddressOrder()
        self._dialer = Dialer(allowed, self._resolver, self._order, tls or client_context(), self.pool)
        self._endpoints: dict[str, Endpoint] = {}

    async def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, *, retry: int = 0
    ) -> Exchange:
        answered: asyncio.Future[Exchange] = self._loop.create_future()

        def ended(exchange: Exchange | Exception) -> None:
            if answered.done():
                return
            if isinstance(exchange, Exchange):
                answered.set_result(exchange)
            else:
                answered.set_exception(exchange)

        call = self.begin(url, headers, body, timeout_ms, ended, retry=retry)
        try:
            return await answered
        except asyncio.CancelledError:
            call.cancel()
            raise

    def begin(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, ended: OnExchange, *, retry: int = 0
    ) -> OpenRequest:
        """On a kept connection, this is one write, and one call when the answer has come. A task
        for each request, and the futures that it awaits, cost a tenth of the time that a request
        takes."""
        # This is the only deadline. Every wait of the request ends at it.
        request = _Request(self, time.monotonic(), self._loop.time() + timeout_ms / 1000, timeout_ms, ended, retry)
        try:
            endpoint = self._endpoints.get(url) or self._endpoint(url)
            request.request = endpoint.request(headers, body)
        except ValueError as error:
            request.fail(error)
            return request
        request.origin = endpoint.origin
        # The connection may have been why the attempt before failed: a router had forgotten it, or
        # it led to the one bad server behind a balancer. So a retry takes a new one.
        connection = None if retry else self.pool.take(endpoint.origin)
        if connection is None:
            request.dialling = self.dial(request)
        else:
            request.connection = connection
            request.address = connection.address
            connection.send(request)
        return request

    def dial(self, request: "_Request") -> "asyncio.Task[None]":
        """Sends the request on a new connection."""
        return self._loop.create_task(self._dial(request))

    async def _dial(self, request: "_Request") -> None:
        try:
            async with asyncio.timeout_at(request.deadline):
                request.connection = await self._dialer.dial(request.origin, request, request.retry)
        except TimeoutError:
            request.late()
        except (OSError, ValueError) as error:
            request.fail(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours, reported
            request.report(error)

    def note(self, origin: Origin, address: str, status: int | None) -> None:
        """Remembers whether a request to this address was answered, and not with a server's
        error."""
        if status is None or status >= SERVER_ERROR:
            self._order.failed(origin, address)
        else:
            self._order.answered(origin, address)

    def _endpoint(self, url: str) -> Endpoint:
        endpoint = parse(url)
        if len(self._endpoints) >= MAX_ENDPOINTS:
            del self._endpoints[next(iter(self._endpoints))]
        self._endpoints[url] = endpoint
        return endpoint

    async def close(self) -> None:
        self.pool.close()
        await self._resolver.close()


class _Request(Post):
    """A request on a kept connection. If that turns out to be closed, it is sent once more on a new
    one."""

    __slots__ = ("_client", "_ended", "_timeout_ms", "connection", "dialling", "origin", "retry")
    # It is set before the request is sent.
    origin: Origin

    def __init__(
        self, client: HttpTransport, started: float, deadline: float, timeout_ms: int, ended: OnExchange, retry: int
    ) -> None:
        super().__init__(b"", Exchange(), started, deadline)
        self._client = client
        self._timeout_ms = timeout_ms
        # None after the exchange was reported or the request was given up.
        self._ended: OnExchange | None = ended
        self.connection: Connection | None = None
        self.dialling: asyncio.Task[None] | None = None
        self.retry = retry

    def ended(self, how: int) -> None:
        self.connection = None
        kept = self.dialling is None
        if kept and how in {SILENT, LATE} and self.exchange.first_byte_us is None:
            # A router or firewall may have forgotten this connection, and then probably its
            # siblings as well. A sibling that has answered since the request was sent is known to
            # work.
            self._client.pool.end_idle_since(self.origin, self.started)
        if self._ended is None:
            return
        if how == SILENT and kept and time.monotonic() - self.started < STALE_SECONDS:
            # The other side had closed the kept connection, and no byte of an answer came. So this
            # was not an attempt yet. On a new connection, silence is a failure.
            self.exchange.error = None
            self.dialling = self._client.dial(self)
        elif how == LATE:
            self.late()
        else:
            self.report(self.exchange)

    def late(self) -> None:
        self._fail(late(self._timeout_ms))

    def fail(self, error: Exception) -> None:
        self._fail(one_line(str(error)) or type(error).__name__)

    def _fail(self, why: str) -> None:
        if self._ended is not None:
            # A result that was reported before stands.
            self.exchange.error = why
            self.report(self.exchange)

    def report(self, what: Exchange | Exception) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            self.exchange.total_us = microseconds(time.monotonic() - self.started)
            if self.address is not None:
                self._client.note(self.origin, self.address, self.exchange.status)
            ended(what)

    def cancel(self) -> None:
        self._ended = None
        if self.dialling is not None:
            self.dialling.cancel()
        if self.connection is not None:
            self.connection.drop(self)
