"""A lane is claimed even if its hint comes behind many lanes that have nothing due."""

from relay.lead.doorbell import WORK_CHANNEL
from relay.rules.turns import MAX_LANES
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Receiver
from tests.support.relay.log import RelayLog
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook

NEVER = "3600000"


async def test_a_lane_behind_more_empty_ones_than_one_claim_takes_is_looked_at_too(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    webhook = await add_webhook(connection, settings, receiver.url, ["item-created"])
    await relays.start(RELAY_POLL_INTERVAL=NEVER)
    event = await RelayLog(connection).event(webhook.id)
    async with connection.transaction():
        # Both hints come in one transaction, so all lanes are known before the first claim. There
        # are two, because one hint holds no more lanes.
        for lanes in ([new_id() for _ in range(MAX_LANES)], [webhook.id]):
            payload = f"{new_id()} {','.join(map(str, lanes))}"
            await connection.execute("select pg_notify($1, $2)", WORK_CHANNEL, payload)
    await receiver.wait_for(lambda: receiver.ids() == [str(event.id)])
