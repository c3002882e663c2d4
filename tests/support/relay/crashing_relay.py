"""A relay that an answer crashes: `python -m tests.support.relay.crashing_relay`.

An answer of 418 stands for one that meets a defect in the parser, and ends the process as a crash
in native code does.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable

import relay.main
from relay.__main__ import main
from relay.transport import Exchange, Transport
from service.platform.settings import Settings

FATAL = 418


class _Crashing(Transport):
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, *, retry: int = 0
    ) -> Exchange:
        exchange = await self._transport.post(url, headers, body, timeout_ms, retry=retry)
        if exchange.status == FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        return exchange

    async def close(self) -> None:
        await self._transport.close()


def _crashing(run: Callable[[Settings, str, Transport], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    return lambda settings, url, transport: run(settings, url, _Crashing(transport))


if __name__ == "__main__":
    vars(relay.main)["run"] = _crashing(relay.main.run)
    sys.exit(main())
