"""A relay that asks one DNS server: `python -m tests.resilience.resolving_relay`, with its address and port in TRIAL_NAMESERVER."""

import os
import sys
from collections.abc import Awaitable, Callable

import aiohttp

import relay.main
from relay.__main__ import main
from relay.transport import AiohttpTransport, Transport
from service.platform.settings import Settings


def _asking(run: Callable[[Settings, str, Transport], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def asking(settings: Settings, url: str, transport: Transport) -> None:
        await transport.close()
        resolver = aiohttp.AsyncResolver(nameservers=[os.environ["TRIAL_NAMESERVER"]], timeout=2, tries=1)
        await run(settings, url, AiohttpTransport(settings.webhook_allowed_networks, resolver))

    return asking


if __name__ == "__main__":
    vars(relay.main)["run"] = _asking(relay.main.run)
    sys.exit(main())
