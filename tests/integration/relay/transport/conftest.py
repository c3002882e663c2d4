"""The transport, on the event loop that the relay uses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from relay.transport import HttpTransport
from relay.transport.resolver import Resolver
from tests.support.receivers.dns_server import Names, names
from tests.support.receivers.scripted_server import LOOPBACK


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(LOOPBACK)
    yield transport
    await transport.close()


@pytest.fixture
async def dns() -> AsyncIterator[Names]:
    """A DNS server in which the test enters names."""
    async with names() as served:
        yield served


@pytest.fixture
async def resolving(dns: Names) -> AsyncIterator[HttpTransport]:
    """A transport that asks that DNS server."""
    transport = HttpTransport(LOOPBACK, resolver=Resolver([dns.address], query_seconds=60))
    yield transport
    await transport.close()
