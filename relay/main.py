"""One relay: its parts, started together and ended in order."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from relay.agenda import Agenda
from relay.breaker import BreakerPolicy
from relay.database import open_queues
from relay.dispatch import Dispatcher
from relay.lead import Lead
from relay.outage import Outage
from relay.presence import Presence, RelayStatus
from relay.record import Recorder
from relay.replay import Replay
from relay.retention import Retention
from relay.settle import Settler
from relay.shares import Places
from relay.target import Targets
from relay.transport import HttpTransport, Transport
from service.platform.epoch import Epoch
from service.platform.lifecycle import cancelled_by_signals, database, require_migrated, settle
from service.platform.logs import get_logger
from service.platform.server_clock import SERVER_CLOCK
from service.platform.settings import Settings

_log = get_logger(__name__)

# So many more objects than before, and the youngest are searched for garbage in cycles. A delivery makes a dozen that live until it
# is recorded, and none in a cycle: with Python's own 700 a tenth of a relay's time went into looking at them.
COLLECT_EVERY = 20_000
# Between two starts of a part that fails.
RESTART_SECONDS = 1.0


async def relay(settings: Settings) -> None:
    """Run a relay until SIGTERM or SIGINT. Raises StartupError."""
    with cancelled_by_signals():
        async with database(settings) as url:
            await require_migrated(url)
            await run(settings, url, HttpTransport(settings.webhook_allowed_networks))


async def run(settings: Settings, url: str, transport: Transport) -> None:
    """Run a relay until cancelled, then end it in order: stop claiming, finish what is in flight, record it, leave."""
    epoch = Epoch()
    await settle(url, epoch)
    pool = await open_queues(url, epoch)
    agenda = Agenda()

    async def given_way(webhook_ids: Sequence[UUID]) -> None:
        dispatcher.hint(webhook_ids)
        await lead.tell_peers(webhook_ids)

    outage = Outage()
    settler = Settler(
        BreakerPolicy(settings.webhook_breaker_delay, settings.webhook_disable_after),
        steady=lambda: SERVER_CLOCK.steady,
    )
    recorder = Recorder(pool, outage, settler, on_retry=agenda.due_in, on_freed=given_way, on_room=agenda.changed.set)
    dispatcher = Dispatcher(
        pool,
        outage,
        recorder,
        agenda,
        Targets(settings.vault(), Places(settings.relay_concurrency_per_webhook)),
        transport,
        concurrency=settings.relay_concurrency,
        per_webhook=settings.relay_concurrency_per_webhook,
        poll_seconds=settings.relay_poll_interval / 1000,
    )
    outage.on_over = dispatcher.sweep_now
    retention = Retention(pool, outage, settings, on_due=agenda.due_in)
    outage.on_partition_missing = retention.discard_now

    def given_work(webhook_ids: list[UUID]) -> None:
        dispatcher.hint(webhook_ids, tests=True)
        retention.discard_now()
        replay.look_now()

    def missed() -> None:
        dispatcher.sweep_now()
        retention.discard_now()
        replay.look_now()

    async def reaped() -> None:
        # Whoever has room for what has become void, or due, is to look, not only who saw it.
        dispatcher.sweep_now()
        await lead.tell_peers(None)

    retention.on_rescheduled = reaped

    def identified(relay_id: UUID) -> None:
        recorder.relay_id = lead.relay_id = relay_id
        # It was given nothing as long as it was not listed.
        dispatcher.sweep_now()

    lead = Lead(
        url,
        pool,
        outage,
        poll_seconds=settings.relay_poll_interval / 1000,
        sending=dispatcher,
        on_queued=dispatcher.hint,
        on_given_work=given_work,
        on_missed=missed,
        has_peers=lambda: presence.relays > 1,
        epoch=epoch,
    )
    dispatcher.leases.on_given_back = lead.tell_peers
    presence = Presence(
        pool,
        outage,
        state=lambda: RelayStatus(
            leader=lead.leader.is_set(),
            listen_pid=lead.listen_pid,
            listen_start=lead.listen_start,
            listen_number=lead.listen_number,
            in_flight=dispatcher.in_flight,
            delivered=dispatcher.delivered,
            attempted=dispatcher.attempted,
            poll_wakes=lead.poll_wakes,
        ),
        on_new_id=identified,
        on_reaped=reaped,
        on_jump=retention.reschedule,
        epoch=epoch,
    )

    def begun() -> None:
        presence.forget()
        dispatcher.sweep_now()

    epoch.mark, epoch.on_new = presence.mark, begun
    replay = Replay(
        pool,
        outage,
        ttl_seconds=settings.webhook_event_ttl,
        poll_seconds=settings.relay_poll_interval / 1000,
        on_queued=given_way,
    )
    await presence.register()
    # What is there by now stays.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)
    _log.info("relay started", relay_id=str(presence.relay_id))
    tasks = {
        name: asyncio.create_task(_keep_going(name, part), name=name)
        for name, part in {
            "presence": presence.run,
            "recorder": recorder.run,
            "dispatcher": dispatcher.run,
            "lead": lead.run,
            "retention": lambda: retention.run(lead.leader, lambda: SERVER_CLOCK.steady),
            "replay": lambda: replay.run(lead.leader),
        }.items()
    }
    try:
        # None of them ends by itself.
        await asyncio.wait(tasks.values())
    finally:
        try:
            async with asyncio.timeout(settings.relay_grace / 1000 + 5):
                await _stop(tasks, dispatcher, recorder, lead, presence, settings.relay_grace / 1000)
        except Exception as error:  # noqa: BLE001 - it ends in any case
            _log.warning(
                "stopped without tidying up; leases run out by themselves", error=str(error) or type(error).__name__
            )
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            await transport.close()
            pool.terminate()


async def _keep_going(name: str, part: Callable[[], Awaitable[None]]) -> None:
    """The outermost boundary. A part catches what rows, receivers and the server do; what it lets through is a defect of ours. The
    part begins again where its state is. If this happens on and on, the relay does less than its share, and its peers do the rest:
    one that cannot beat is removed, one that cannot lead lets go of the leader's lock."""
    while True:
        try:
            await part()
        except Exception:  # noqa: BLE001 - the last resort
            _log.exception("a part of the relay failed; it begins again", part=name)
            await asyncio.sleep(RESTART_SECONDS)
        else:
            return


async def _stop(
    tasks: dict[str, "asyncio.Task[None]"],
    dispatcher: Dispatcher,
    recorder: Recorder,
    lead: Lead,
    presence: Presence,
    grace_seconds: float,
) -> None:
    """Presence beats to the end, or a peer would take over what is still in flight. LISTEN, and the leader's locks, go last."""
    dispatcher.stop_claiming()
    await asyncio.wait([tasks["dispatcher"]])
    await dispatcher.finish(grace_seconds)
    if not tasks["recorder"].done():
        await recorder.drained()
    # What the grace cut off is the others' at once, and is not counted as lost: it is not to blame.
    await dispatcher.leases.give_back_cut_off()
    for name in ("retention", "replay", "lead"):
        tasks[name].cancel()
    await asyncio.wait([tasks["lead"], tasks["retention"], tasks["replay"]])
    await lead.leave()
    tasks["presence"].cancel()
    await asyncio.wait([tasks["presence"]])
    await presence.leave()
    # Retries that this relay alone had in mind are the others' now.
    await lead.tell_peers(None)
