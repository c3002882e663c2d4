"""`python -m bench.relay own|aiohttp|instant`: a relay with its own transport, with aiohttp's
client, or with a transport that answers at once."""

import sys

import uvloop

import relay.main
from bench.aiohttp_transport import AiohttpTransport
from relay.transport import Exchange, Transport
from service.platform.lifecycle import cancelled_by_signals, database, require_migrated, start
from service.platform.settings import Settings


class InstantTransport(Transport):
    """Takes no time and no socket, so only the cost of the relay and the database is left."""

    async def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout_ms: int, *, retry: int = 0
    ) -> Exchange:
        del url, headers, body, timeout_ms, retry
        return Exchange(status=200, headers=b"Content-Length: 2", body=b"ok", first_byte_us=1, total_us=1)

    async def close(self) -> None:
        pass


async def run(settings: Settings, kind: str) -> None:
    with cancelled_by_signals():
        async with database(settings) as url:
            await require_migrated(url)
            transport: Transport = (
                InstantTransport() if kind == "instant" else AiohttpTransport(settings.webhook_allowed_networks)
            )
            await relay.main.run(settings, url, transport)


def main() -> None:
    settings, kind = start(), sys.argv[1]
    uvloop.run(relay.main.relay(settings) if kind == "own" else run(settings, kind))


if __name__ == "__main__":
    main()
