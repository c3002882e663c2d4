"""The list of relays that an admin gets."""

from typing import Any
from uuid import UUID

import pytest

from relay.watch import presence
from service import __version__
from service.platform.ids import new_id
from service.relays import reads as listing
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Receiver
from tests.support.relay.processes import Relays
from tests.support.waiting import until

FIELDS = [
    "id",
    "version",
    "host",
    "startedAt",
    "seenAt",
    "alive",
    "leader",
    "inFlight",
    "delivered",
    "attempted",
    "rates",
]


async def _listed(admin: Caller) -> Any:
    answer = await admin.get("/relays")
    assert answer.status == 200, answer.body
    assert answer.headers["X-Total-Count"] == str(len(answer.body))
    return answer.body


async def test_each_relay_says_what_it_does_and_one_leads(
    admin: Caller, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    assert await _listed(admin) == []
    await make_webhook(admin, url=receiver.url)
    first, second = await relays.start(2)
    await admin.make("/items", name="Pump")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 1)

    async def reported() -> bool:
        return any(relay["delivered"] for relay in await _listed(admin))

    await until(reported, "a beat has reported the delivery")
    listed = await _listed(admin)
    assert [list(relay) for relay in listed] == [FIELDS, FIELDS]
    pids = {str(row["id"]): row["pid"] for row in await connection.fetch("select id, pid from relays")}
    assert {pids[relay["id"]] for relay in listed} == {first.pid, second.pid}
    assert sorted(relay["leader"] for relay in listed) == [False, True]
    assert all(relay["alive"] and relay["version"] == __version__ and relay["host"] for relay in listed)
    busy, idle = sorted(listed, key=lambda relay: -int(relay["delivered"]))
    assert (busy["delivered"], busy["attempted"], idle["attempted"]) == (1, 1, 0)
    assert busy["rates"]["delivered"] == busy["rates"]["attempted"] > 0
    assert idle["rates"] == {"delivered": 0, "attempted": 0}


async def test_one_that_has_not_been_seen_for_seconds_is_listed_as_not_alive(
    admin: Caller, connection: Connection
) -> None:
    dead, alive = new_id(), new_id()
    for relay_id, ago in ((dead, 6), (alive, 0)):
        await connection.execute(
            "insert into relays (id, version, host, pid, seen_at)"
            " values ($1, 'x', 'here', 1, clock_timestamp() - make_interval(secs => $2))",
            relay_id,
            ago,
        )
    assert {UUID(relay["id"]): relay["alive"] for relay in await _listed(admin)} == {dead: False, alive: True}
    page = await admin.get("/relays", skip="1", limit="1")
    assert (len(page.body), page.headers["X-Total-Count"]) == (1, "2")


def test_the_list_takes_a_relay_for_dead_when_its_peers_do() -> None:
    assert listing.STALE_SECONDS == presence.STALE_SECONDS


@pytest.mark.parametrize("role", ["supervisor", "foreman", "worker", "personnel"])
async def test_only_an_admin_sees_them(role: str, api: Api, sign_up: SignUp) -> None:
    assert (await Caller(api, await sign_up(role)).get("/relays")).status == 403
    async with api.get("/api/v1/relays") as response:
        assert response.status == 401
