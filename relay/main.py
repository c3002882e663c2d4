"""One relay: its parts, started together and ended in order."""

import asyncio
import gc
from collections.abc import Sequence

from relay.board import Board
from relay.claim.dispatch import Dispatcher
from relay.identity import Identity
from relay.lead.elect import Election
from relay.lead.listen import Listen
from relay.lead.look import Look
from relay.lead.replay import Replay
from relay.lead.retention import Retention
from relay.record.record import Recorder
from relay.record.settle import Settler
from relay.rules.breaker import BreakerPolicy
from relay.rules.shares import Places
from relay.send.target import Targets
from relay.service import Service
from relay.transport import HttpTransport, Transport
from relay.watch.database import Queues, open_queues
from relay.watch.marks import Marks
from relay.watch.outage import Outage
from relay.watch.peers import Peers
from relay.watch.presence import Presence
from service.platform.epoch import Epoch
from service.platform.lifecycle import cancelled_by_signals, database, require_migrated, settle
from service.platform.logs import get_logger
from service.platform.settings import Settings

_log = get_logger(__name__)

# Python searches its youngest objects for cycles each time their number has grown by this many.
# With its default of 700, the searches took a tenth of a relay's time. Each delivery makes a dozen
# objects, which live until it is recorded and never form a cycle.
COLLECT_EVERY = 20_000
# Recording the last results and leaving may take this long after the grace period.
SPARE_SECONDS = 5.0


async def relay(settings: Settings) -> None:
    """Run a relay until SIGTERM or SIGINT. Raises StartupError."""
    with cancelled_by_signals():
        async with database(settings) as url:
            await require_migrated(url)
            await run(settings, url, HttpTransport(settings.webhook_allowed_networks))


async def run(settings: Settings, url: str, transport: Transport) -> None:
    """Run a relay until cancelled, then end it in order: stop claiming, finish the requests in
    flight, record them, leave."""
    board, identity = Board(), Identity()
    marks = Marks(board, identity)
    epoch = Epoch(marks.mark, marks.forget)
    await settle(url, epoch)
    pool = await open_queues(url, epoch)
    started: list[Service] = []
    try:
        for service in _services(settings, url, transport, board, identity, marks, epoch, pool):
            await service.start()
            started.append(service)
        # Everything allocated so far lives for ever: exempt it from garbage collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_EVERY)
        _log.info("relay started", relay_id=str(identity.relay_id))
        # No part ends by itself: a part that fails is started again (relay/service.py).
        await asyncio.wait([service.task for service in started])
    finally:
        try:
            async with asyncio.timeout(settings.relay_grace / 1000 + SPARE_SECONDS):
                for service in reversed(started):
                    await service.stop()
        except Exception as error:  # noqa: BLE001 - it ends in any case
            _log.warning(
                "stopped without tidying up; leases run out by themselves", error=str(error) or type(error).__name__
            )
        finally:
            await asyncio.gather(*(service.cancel() for service in started))
            await transport.close()
            pool.terminate()


def _services(
    settings: Settings,
    url: str,
    transport: Transport,
    board: Board,
    identity: Identity,
    marks: Marks,
    epoch: Epoch,
    pool: Queues,
) -> Sequence[Service]:
    """The parts in the order in which they start. They stop in the opposite order."""
    poll_seconds = settings.relay_poll_interval / 1000
    outage = Outage(board)
    policy = BreakerPolicy(settings.webhook_breaker_delay, settings.webhook_disable_after)
    recorder = Recorder(pool, board, outage, identity, Settler(policy))
    dispatcher = Dispatcher(
        pool,
        board,
        outage,
        identity,
        recorder=recorder,
        targets=Targets(settings.vault(), Places(settings.relay_concurrency_per_webhook)),
        transport=transport,
        concurrency=settings.relay_concurrency,
        per_webhook=settings.relay_concurrency_per_webhook,
        poll_seconds=poll_seconds,
        grace_seconds=settings.relay_grace / 1000,
    )
    peers = Peers(pool, board, identity)
    look = Look(pool, board, outage, identity, dispatcher.offers, poll_seconds)
    return (
        peers,
        Presence(pool, board, outage, identity, marks=marks, epoch=epoch, load=dispatcher),
        Election(Listen(url, pool, identity, epoch, peers), look, dispatcher.offers, board, outage, identity),
        Retention(pool, board, outage, identity, settings),
        Replay(pool, board, outage, identity, ttl_seconds=settings.webhook_event_ttl, poll_seconds=poll_seconds),
        recorder,
        dispatcher,
    )
