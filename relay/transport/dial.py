"""Opens a connection: resolves the name, checks the address, connects to the checked address, and
begins TLS."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple

from relay.rules.endpoint import Origin
from relay.transport.addresses import AddressOrder
from relay.transport.connection import Connection, Keeper, Post
from relay.transport.exchange import Exchange, microseconds
from relay.transport.resolver import Resolver
from service.delivery.address import AddressRefused, check_address

# If an address does not answer within this time, the next one is tried beside it.
HEAD_START_SECONDS = 0.25


class CannotConnect(OSError):
    """No connection could be opened. The message says in which phase, and why."""


class Dialer:
    def __init__(
        self,
        allowed: Sequence[IPv4Network | IPv6Network],
        resolver: Resolver,
        order: AddressOrder,
        tls: ssl.SSLContext,
        keeper: Keeper,
    ) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._order = order
        self._tls = tls
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()

    async def dial(self, origin: Origin, post: Post, retry: int) -> Connection:
        """Opens a connection, on which `post` is sent. Its exchange gets the times of the phases.
        `retry`: how many attempts failed before. Raises OSError, whose text is for the webhook's
        owner."""
        exchange = post.exchange
        addresses = self._order.sort(origin, await self._addresses(origin.host, exchange, retry), retry)
        started = time.monotonic()
        post.address, opened = await self._connect(addresses, origin)
        connected = time.monotonic()
        exchange.connect_us = microseconds(connected - started)

        def factory() -> Connection:
            return Connection(origin, self._keeper, self._loop, post)

        if origin.scheme == "http":
            _, connection = await self._loop.create_connection(factory, sock=opened)
            return connection
        try:
            _, connection = await self._loop.create_connection(
                factory, sock=opened, ssl=self._tls, server_hostname=origin.host.rstrip(".")
            )
        except ssl.SSLCertVerificationError as error:
            raise CannotConnect(f"the certificate is not valid: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise CannotConnect(f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}") from error
        except OSError as error:
            raise CannotConnect("TLS failed: the connection was closed during the handshake") from error
        exchange.tls_us = microseconds(time.monotonic() - connected)
        return connection

    async def _addresses(self, host: str, exchange: Exchange, retry: int) -> Sequence[str]:
        try:
            return (str(ip_address(host)),)
        except ValueError:
            pass
        started = time.monotonic()
        try:
            return await self._resolver.resolve(host, retry=retry > 0)
        finally:
            exchange.dns_us = microseconds(time.monotonic() - started)

    async def _connect(self, addresses: Sequence[str], origin: Origin) -> "_Opened":
        """Connects to the first address that answers. The next address is tried when the one before
        it has failed, or has not answered within HEAD_START_SECONDS."""
        waiting = list(addresses)
        trying: set[asyncio.Task[_Opened]] = set()
        error: OSError = CannotConnect("the host has no address")
        try:
            while waiting or trying:
                if waiting:
                    trying.add(asyncio.create_task(self._connect_to(waiting.pop(0), origin)))
                done, trying = await asyncio.wait(
                    trying, timeout=HEAD_START_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if (failed := task.exception()) is None:
                        done.discard(task)
                        trying |= done
                        return task.result()
                    if not isinstance(failed, OSError):
                        raise failed
                    # An address that was refused explains more than one that did not answer.
                    if not isinstance(error, AddressRefused):
                        error = failed
        finally:
            for task in trying:
                task.add_done_callback(_close)
                task.cancel()
        raise error

    async def _connect_to(self, address: str, origin: Origin) -> "_Opened":
        # Check here, and nowhere earlier: then the checked address is the one that is connected to,
        # and DNS rebinding has no window.
        check_address(address, self._allowed)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(opened, (address, origin.port))
        except OSError as error:
            opened.close()
            self._order.failed(origin, address)
            raise CannotConnect(f"cannot connect to {address}: {_reason(error)}") from error
        except BaseException:
            # Another address was quicker, or the deadline came.
            opened.close()
            self._order.failed(origin, address)
            raise
        return _Opened(address, opened)


class _Opened(NamedTuple):
    address: str
    socket: socket.socket


def _close(task: "asyncio.Task[_Opened]") -> None:
    """Closes a socket that another address was quicker than."""
    if not task.cancelled() and task.exception() is None:
        task.result().socket.close()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno is not None and error.errno > 0 else str(error)
