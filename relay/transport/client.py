"""The relay's own HTTP client: POST over HTTP/1.1, on connections that are kept alive."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from relay.transport.connection import LATE, SILENT, Post
from relay.transport.dial import Dialer
from relay.transport.endpoint import Endpoint, parse
from relay.transport.exchange import Exchange, late, microseconds, one_line
from relay.transport.pool import Pool
from relay.transport.resolver import Resolver

MAX_ENDPOINTS = 10_000


class HttpTransport:
    """Made inside a running loop. `tls`: whom to trust, by default whom the system trusts."""

    def __init__(
        self,
        allowed: Sequence[IPv4Network | IPv6Network],
        *,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        pool: Pool | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._resolver = resolver or Resolver()
        self.pool = pool or Pool()
        self._dialer = Dialer(allowed, self._resolver, tls or ssl.create_default_context(), self.pool)
        self._endpoints: dict[str, Endpoint] = {}

    async def post(self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int) -> Exchange:
        started = time.monotonic()
        # The one deadline: every wait on the way ends there.
        deadline = self._loop.time() + timeout_ms / 1000
        exchange = Exchange()
        try:
            endpoint = self._endpoints.get(url) or self._endpoint(url)
            post = Post(endpoint.request(headers, body), exchange, started, deadline, self._loop.create_future())
            end = SILENT
            if (connection := self.pool.take(endpoint.origin)) is not None:
                connection.send(post)
                end = await connection.answer(post)
            if end == SILENT:
                # None was kept, or the other side had closed it and nothing of an answer came: then this is not an attempt yet.
                # On a new connection silence counts.
                exchange.error = None
                if post.done.done():
                    post = post._replace(done=self._loop.create_future())
                async with asyncio.timeout_at(deadline):
                    connection = await self._dialer.dial(endpoint.origin, post)
                end = await connection.answer(post)
            if end == LATE:
                exchange.error = late(timeout_ms)
        except TimeoutError:
            exchange.error = late(timeout_ms)
        except (OSError, ValueError) as error:
            exchange.error = one_line(str(error)) or type(error).__name__
        exchange.total_us = microseconds(time.monotonic() - started)
        return exchange

    def _endpoint(self, url: str) -> Endpoint:
        endpoint = parse(url)
        if len(self._endpoints) >= MAX_ENDPOINTS:
            del self._endpoints[next(iter(self._endpoints))]
        self._endpoints[url] = endpoint
        return endpoint

    async def close(self) -> None:
        self.pool.close()
        await self._resolver.close()
