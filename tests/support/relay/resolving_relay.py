"""A relay that asks one DNS server: `python -m tests.support.relay.resolving_relay`.

TRIAL_NAMESERVER is the DNS server's address and port.
"""

import os
import sys
from collections.abc import Awaitable, Callable

import relay.main
from relay.__main__ import main
from relay.transport import HttpTransport, Transport
from relay.transport.resolver import Resolver
from service.platform.settings import Settings


def _asking(run: Callable[[Settings, str, Transport], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def asking(settings: Settings, url: str, transport: Transport) -> None:
        await transport.close()
        resolver = Resolver([os.environ["TRIAL_NAMESERVER"]], query_seconds=2)
        await run(settings, url, HttpTransport(settings.webhook_allowed_networks, resolver=resolver))

    return asking


if __name__ == "__main__":
    vars(relay.main)["run"] = _asking(relay.main.run)
    sys.exit(main())
