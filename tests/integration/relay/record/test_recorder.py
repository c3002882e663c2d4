"""Results that the database does not accept, in the recorder."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from relay.claim.slots import Offer
from relay.lead.fanout import FanOut
from relay.record.result import Result
from relay.rules.policy import Decision
from relay.transport import Exchange
from service.platform.db import Pool
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.relay.sending import Sending
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

OUTCOMES = "select position, outcome, error from attempts order by position, outcome"
REFUSED = "the result could not be recorded"
# More microseconds than the column holds.
TOO_LONG = 2**40


@pytest.mark.parametrize("away", [False, True])
async def test_a_result_that_is_refused_costs_no_other_its_record(
    connection: Connection,
    settings: Settings,
    pool: Pool,
    sending: Sending,
    monkeypatch: pytest.MonkeyPatch,
    away: bool,
) -> None:
    """Also if the database goes away after some results have been recorded."""
    await add_webhook(connection, settings, "http://127.0.0.1:9/", ["item-created"])
    for _ in range(7):
        await write_event(connection)
    relay_id = sending.identity.relay_id
    assert relay_id is not None
    batch = await FanOut(pool).batch(lambda: Offer(relay_id, 7, 7))
    write = sending.recorder._write
    cut_off = [away]

    async def recorded(results: Sequence[Result], **options: bool) -> None:
        if cut_off[0] and await connection.fetchval("select exists (select from attempts)"):
            cut_off[0] = False
            raise ConnectionResetError
        await write(results, **options)

    monkeypatch.setattr(sending.recorder, "_write", recorded)
    for number, lease in enumerate(batch.leases, 1):
        exchange = Exchange(status=200, total_us=TOO_LONG if number == 5 else 1)
        sending.recorder.add(
            Result(lease, Decision("success"), None, exchange, "http://x/", '{"a":"b"}', datetime.now(UTC))
        )

    async def done() -> bool:
        return not sending.recorder.fences()

    await until(done, "all are recorded")
    assert cut_off == [False]
    assert [tuple(row) for row in await connection.fetch(OUTCOMES)] == [
        (position, "failed", REFUSED) if position == 5 else (position, "success", None) for position in range(1, 8)
    ]
    assert await connection.fetchval("select not exists (select from deliveries)")
