"""The diagram in docs/DELIVERIES.md shows the states of a breaker that the database allows. Relays
take every step in it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web

from service.platform.ids import new_id
from service.platform.queries import load
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.processes import Relays
from tests.support.state_diagrams import drawn, states, taken_by
from tests.support.waiting import until

BREAKER = drawn("DELIVERIES.md", "States of a breaker")


async def test_a_lane_can_hold_the_states_of_a_breaker_that_are_drawn_and_no_other(
    api: Api, sign_up: SignUp, connection: Connection
) -> None:
    """Sets the columns of the state in every way. Each row that the table accepts has a state in
    the API."""
    webhook = await make_webhook(Caller(api, await sign_up("worker")))
    relay, now = new_id(), datetime.now(UTC)
    await connection.execute("insert into relays (id, version, host, pid) values ($1, 'x', 'here', 1)", relay)
    choices: dict[str, tuple[Any, ...]] = {
        "failures": (0, 12),
        "pauses": (0, 1),
        "failing_since": (None, now),
        "opened_at": (None, now),
        "probe_at": (None, now),
        "failed_probes": (0, 1),
        "probe_by": (None, relay),
        "probe_until": (None, now + timedelta(seconds=60)),
        "probe_position": (None, 7),
    }
    taken: dict[tuple[bool, bool], set[str]] = {}
    async for row in taken_by(connection, "receiver_health", choices):
        shown = await load("webhooks").health.fetchrow(connection, ids=[UUID(webhook["id"])])
        assert shown is not None
        key = (row["opened_at"] is not None, row["probe_by"] is not None)
        taken.setdefault(key, set()).add(shown["breaker"].replace("-", "_"))
    # A closed breaker with a probe's lease: the request after a pause has one.
    assert taken == {
        (False, False): {"closed"},
        (False, True): {"closed"},
        (True, False): {"open"},
        (True, True): {"half_open"},
    }
    assert set().union(*taken.values()) == states(BREAKER)


async def test_every_step_of_a_breaker_is_drawn_and_every_drawn_one_is_taken(
    api: Api, sign_up: SignUp, relays: Relays, receiver: Receiver, connection: Connection
) -> None:
    owner = Caller(api, await sign_up("admin"))
    webhook = await make_webhook(owner, url=receiver.url, retryPolicy={"schedule": [100] * 20})
    for statement in (
        """
        create function state(l receiver_health) returns text language sql as $$
          select case when l.opened_at is null then 'closed' when l.probe_by is null then 'open' else 'half_open' end
        $$
        """,
        "create table step (was text, now text)",
        """
        create function watch_health() returns trigger language plpgsql as $$
        begin
          if tg_op = 'INSERT' then
            insert into step values ('[*]', state(new));
          elsif state(old) <> state(new) then
            insert into step values (state(old), state(new));
          end if;
          return null;
        end
        $$
        """,
        "create trigger watch after insert or update on receiver_health for each row execute function watch_health()",
    ):
        await connection.execute(statement)
    await make_webhook(owner, url=receiver.url, events=["item-deleted"])
    status = 500

    async def answer(_: Arrival) -> web.StreamResponse:
        return web.Response(status=status)

    async def taken(was: str, now: str) -> bool:
        found: bool = await connection.fetchval(
            "select exists (select from step where was = $1 and now = $2)", was, now
        )
        return found

    async def is_open() -> bool:
        found: bool = await connection.fetchval("select bool_or(state(l) = 'open') from receiver_health as l")
        return found

    receiver.answer = answer
    await relays.start(2, WEBHOOK_BREAKER_DELAY="300")
    while not await taken("open", "closed"):
        for _ in range(4):
            await owner.make("/items", name="Pump")
        await until(is_open, "the breaker is open")
        # A probe may go out meanwhile and close the breaker. Then the breaker opens once more.
        assert (await owner.put(f"/webhooks/{webhook['id']}", {"active": True})).status == 200
    await until(lambda: taken("half_open", "open"), "the breaker has opened again, and a probe has failed")
    await connection.execute("delete from step where was = 'half_open' and now = 'closed'")
    status = 200
    await relays.idle()
    await until(lambda: taken("half_open", "closed"), "a probe has succeeded")

    steps = await connection.fetch("select was, now from step")
    assert {(row["was"], row["now"]) for row in steps} == BREAKER
