"""kill -9 during a replay: another leader goes on from the same place, and every event arrives."""

import signal
from collections import Counter
from typing import Any

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit
from tests.support.receivers.receiver import Receiver
from tests.support.relay.processes import Relays
from tests.support.relay.replays import ask_replay, dry_run, show_job
from tests.support.waiting import until

EVENTS = 2000


async def test_a_replay_survives_its_relay_and_gives_a_new_webhook_every_event_from_before_it_existed(
    connection: Connection, database_url: str, relays: Relays, receiver: Receiver, api: Api, sign_up: SignUp
) -> None:
    owner = Caller(api, await sign_up("worker"))
    # Relays are woken only by hints here, never by the poll.
    poll = {"RELAY_POLL_INTERVAL": "3600000"}
    await relays.start(2, **poll)
    await connection.execute(
        "insert into outbox (type, data) select 'item-created', json_build_object('n', n)::text from generate_series(1, $1) as n",
        EVENTS,
    )
    await relays.idle()
    webhook = await make_webhook(owner, url=f"{receiver.url}/late")
    assert (await dry_run(owner, webhook["id"], status="missing"))["count"] == EVENTS
    job = await ask_replay(owner, webhook["id"], status="missing")

    async def in_the_middle() -> bool:
        done: int = (await show_job(owner, webhook["id"], job))["done"]
        return 0 < done < EVENTS and len(receiver.arrivals) > 0

    await until(in_the_middle, "the replay has begun")
    victim = await relays.leader()
    assert victim is not None
    killed = await connection.fetchval("select id from relays where pid = $1", victim.pid)
    victim.send(signal.SIGKILL)
    await victim.ended()
    assert (await show_job(owner, webhook["id"], job))["status"] == "running", "it was killed too late to show anything"

    # A new event does not wait for the replay's end.
    new = await connection.fetchval("insert into outbox (type, data) values ('item-created', '{}') returning id")

    async def finished() -> bool:
        shown: dict[str, Any] = await show_job(owner, webhook["id"], job)
        return bool(shown["status"] == "done")

    await until(finished, "the replay is done")
    await relays.idle()
    assert (await show_job(owner, webhook["id"], job))["done"] == EVENTS
    wanted = {str(row["id"]) for row in await connection.fetch("select id from events")}
    arrived = Counter(receiver.ids())
    assert set(arrived) == wanted
    assert str(new) in wanted
    log = await connection.fetch("select event_id, lost_by from attempts")
    taken_over = {str(row["event_id"]) for row in log if row["lost_by"] == killed}
    assert {event_id for event_id, times in arrived.items() if times > 1} <= taken_over
    assert await run_audit("outbox_completeness", database_url) == []
