"""aiohttp's client as the transport: what the benchmarks hold the relay's own against."""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from relay.transport.exchange import MAX_BODY_KEPT, MAX_HEADERS_KEPT, Exchange, Transport, late, microseconds, one_line
from relay.transport.tls import client_context
from service.delivery.address import AddressRefused, check_address

KEEPALIVE_SECONDS = 30


@dataclass(slots=True)
class _Trace:
    """Marks that aiohttp's trace signals leave, in monotonic seconds."""

    started: float = field(default_factory=time.monotonic)
    mark: float = 0.0
    dns_us: int | None = None
    connect_us: int | None = None
    reused: bool = False


class AiohttpTransport(Transport):
    """aiohttp's client as the transport."""

    def __init__(self, allowed: Sequence[IPv4Network | IPv6Network], resolver: AbstractResolver | None = None) -> None:
        self._allowed = allowed
        self._resolver = resolver or aiohttp.AsyncResolver()
        self._tls = client_context()
        self._pooled = self._session(force_close=False)
        self._fresh = self._session(force_close=True)

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        options: dict[str, Any] = {} if force_close else {"keepalive_timeout": KEEPALIVE_SECONDS}
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                resolver=self._resolver,
                ssl=self._tls,
                ttl_dns_cache=10,
                force_close=force_close,
                socket_factory=self._socket,
                **options,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            trace_configs=[_trace_config()],
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            max_line_size=8190,
            max_field_size=8190,
            read_bufsize=2 * MAX_BODY_KEPT,
        )

    def _socket(self, info: Any) -> socket.socket:
        # Here, and nowhere earlier: the address that is checked is the one that is connected to, so
        # rebinding has no window.
        family, kind, protocol, _, address = info
        check_address(address[0], self._allowed)
        return socket.socket(family, kind, protocol)

    async def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, *, retry: int = 0
    ) -> Exchange:
        started = time.monotonic()
        trace = _Trace()
        exchange = Exchange()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                try:
                    session = self._fresh if retry else self._pooled
                    await self._exchange(session, url, headers, body, trace, exchange)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                    # A connection kept alive that the other side had closed: nothing of a response
                    # came, so this is not an attempt yet. Once more, on a connection of its own.
                    if (
                        not trace.reused
                        or exchange.status is not None
                        or isinstance(error, aiohttp.ClientConnectorError)
                    ):
                        raise
                    await self._exchange(self._fresh, url, headers, body, trace, exchange)
        except TimeoutError:
            exchange.error = late(timeout_ms)
            exchange.status = None
        except (aiohttp.ClientError, AddressRefused, OSError, ValueError, UnicodeError) as error:
            exchange.error = describe(error)
            exchange.status = None
        exchange.dns_us, exchange.connect_us = trace.dns_us, trace.connect_us
        exchange.total_us = microseconds(time.monotonic() - started)
        return exchange

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        url: str,
        headers: dict[str, str],
        body: bytes,
        trace: _Trace,
        exchange: Exchange,
    ) -> None:
        async with session.post(
            url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=trace, timeout=_NO_TIMEOUT
        ) as response:
            exchange.first_byte_us = microseconds(time.monotonic() - trace.started)
            exchange.status = response.status
            exchange.headers = _raw_headers(response.raw_headers)
            kept = b""
            while len(kept) <= MAX_BODY_KEPT:
                chunk = await response.content.read(MAX_BODY_KEPT + 1 - len(kept))
                if not chunk:
                    break
                kept += chunk
            if len(kept) > MAX_BODY_KEPT:
                # More than is kept: the rest, however long, is not read.
                response.close()
            exchange.body = kept[:MAX_BODY_KEPT]

    async def close(self) -> None:
        await self._pooled.close()
        await self._fresh.close()
        await self._resolver.close()


# The one deadline is asyncio.timeout's, over all of the exchange.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


def describe(error: BaseException) -> str:
    """One line for the log and for the API; never empty, without NUL."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        text = f"cannot resolve the host: {error.os_error.strerror or error.os_error}"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        text = f"the certificate is not valid: {error.certificate_error}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
        text = str(inner) if isinstance(inner, AddressRefused) else f"cannot connect: {inner}"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        text = "the connection was closed before an answer"
    elif isinstance(error, aiohttp.ClientPayloadError):
        text = "the answer broke off"
    else:
        text = str(error) or type(error).__name__
    return one_line(text)


def _raw_headers(raw: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join(name + b": " + value for name, value in raw)[:MAX_HEADERS_KEPT]


def _trace_config() -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()

    def of(context: SimpleNamespace) -> _Trace:
        trace: _Trace = context.trace_request_ctx
        return trace

    async def begin(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        of(context).mark = time.monotonic()

    async def resolved(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        of(context).dns_us = microseconds(time.monotonic() - of(context).mark)
        of(context).mark = time.monotonic()

    async def connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        of(context).connect_us = microseconds(time.monotonic() - of(context).mark)

    async def reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        of(context).reused = True

    config.on_connection_create_start.append(begin)
    config.on_dns_resolvehost_start.append(begin)
    config.on_dns_resolvehost_end.append(resolved)
    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(reused)
    return config
