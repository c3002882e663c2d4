"""A relay fulfils a request of the API although its reply was lost, or although it has another id
by then."""

from aiohttp import web

from relay.transport import HttpTransport
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.relay.sending import Sending, register
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

OWED = """
(webhook_id, position, event_id, event_type, event_at) select $1, position, id, type, recorded_at from events
"""
# In this relay, the first reply about woken lanes is lost.
DEAF_RELAY = """
from relay.lead.fanout import FanOut
take, lost = FanOut.lane_wakes, []
async def lane_wakes(fanout):
    woken = await take(fanout)
    if not lost:
        lost.append(woken)
        raise ConnectionResetError
    return woken
FanOut.lane_wakes = lane_wakes
"""


async def test_what_was_asked_for_in_words_that_were_lost_is_done_all_the_same(
    connection: Connection, settings: Settings, relays: Relays
) -> None:
    webhook = await add_webhook(connection, settings, "http://127.0.0.1:9/", ["item-created"])
    await connection.execute("update webhooks set active = false")
    await write_event(connection)
    relay = await relays.start_changed(DEAF_RELAY, RELAY_POLL_INTERVAL="86400000")
    await until(lambda: connection.fetchval("select exists (select from events)"), "it is fanned out")
    async with connection.transaction():
        await connection.execute("insert into deliveries " + OWED, webhook.id)
        await connection.execute("update webhooks set discard_through = 1")
        await connection.execute("insert into lane_wakes values ($1)", webhook.id)
    ended = "select exists (select from attempts where outcome = 'cancelled')"
    # Long before the next round of housekeeping, a minute later.
    await until(lambda: connection.fetchval(ended), "what is no longer wanted has ended", 30)
    assert any("away" in line["event"] for line in relay.log())


async def test_a_test_is_finished_though_its_relay_has_another_id_by_then(
    connection: Connection, settings: Settings, pool: Pool, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    sending = Sending(pool, settings, await register(connection), HttpTransport(settings.webhook_allowed_networks))

    async def answer(_: Arrival) -> web.StreamResponse:
        sending.identity.relay_id = new_id()
        return web.Response()

    receiver.answer = answer
    await connection.execute(
        "insert into webhook_tests (webhook_id, expires_at) values ($1, now() + interval '35 seconds')", webhook.id
    )
    sending.board.test()
    await until(lambda: connection.fetchval("select exists (select from webhook_tests where status = 200)"), "it is")
    await sending.stop()
