"""A bad row, or a fault in a step that works on it, ends that row only. The relay goes on, and
other events are delivered."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from relay.claim.claim import Claims, Unclaimable
from relay.identity import Identity
from relay.rules.shares import Places
from relay.send.target import Targets
from service.platform.db import Pool
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Receiver
from tests.support.relay.bad_rows import TYPE, BadRows, cases, has_ended
from tests.support.relay.failing_step import FailingStep, defect
from tests.support.relay.in_process import relaying
from tests.support.relay.log import RelayLog
from tests.support.relay.parts import housekeeping
from tests.support.relay.processes import Relays
from tests.support.relay.sending import register
from tests.support.relay.steps import FUNCTIONS
from tests.support.rows import Webhook, add_webhook, write_event
from tests.support.waiting import until


@pytest.fixture
async def world(
    connection: Connection,
    settings: Settings,
    database_url: str,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[BadRows]:
    monkeypatch.setenv("RELAY_POLL_INTERVAL", "200")
    # A webhook is disabled by age only after the server's clock has been steady for this long.
    monkeypatch.setattr("service.platform.server_clock.STEADY_SECONDS", 0.0)
    failing_step = FailingStep(monkeypatch)
    for steps in FUNCTIONS.values():
        for step in steps:
            failing_step.function(step)
    world = BadRows(connection, settings.model_copy(update={"relay_poll_interval": 200}), receiver, failing_step)
    await world.begin()
    async with relaying(connection, world.settings, database_url, monkeypatch):
        yield world


async def test_a_fault_in_a_delivery_ends_that_delivery(world: BadRows) -> None:
    for step, needle, error in cases("an event"):
        async with world.failing(step, error, "/bad" if needle == "/bad" else "/well", max_retries=0) as bad:
            world.failing_step.set(step, bad.id if needle == "ID" else needle, error)
            event_id = await write_event(world.connection, routed=True)
            await world.delivered(event_id)
            await world.others_are_delivered()
            if step != "peers.notify_work":
                await world.met()
                await has_ended(world, bad, event_id)


async def test_a_fault_in_a_claim_costs_other_lanes_nothing(world: BadRows) -> None:
    for step, _, error in cases("an event by a claim"):
        async with world.failing(step, error, max_retries=0) as bad:
            held = [(await world.log.event(bad.id)) for _ in range(3)]
            world.failing_step.set(step, bad.id, error)
            # No hint announces it, so the sweep finds it.
            await world.log.event(world.good.id)
            await world.others_are_delivered()
            if step == "claim.claim":
                for event in held:
                    await has_ended(world, bad, event.id)
                why = await world.connection.fetchval(
                    "select error from attempts where webhook_id = $1 and event_id = $2", bad.id, held[0].id
                )
                assert why == f"it cannot be claimed: {type(error()).__name__}: {error()}"


async def test_what_is_given_up_is_what_the_claim_would_have_taken(
    connection: Connection, settings: Settings, pool: Pool
) -> None:
    """Under an open breaker the claim would take the manual retry, which comes after all the
    others."""
    webhook = await add_webhook(connection, settings, "http://127.0.0.1:9/", [TYPE])
    log = RelayLog(connection)
    events = [await log.event(webhook.id) for _ in range(5)]
    await connection.execute(
        "update receiver_health set failures = 10, failing_since = now(), failed_events = '{1,2,3}', opened_at = now(), probe_at = now(),"
        " probe_position = $1",
        events[-1].position,
    )
    await connection.execute(
        f"alter table deliveries add constraint poisoned check (position <> {events[-1].position} or leased_by is null)"
    )
    identity = Identity()
    identity.relay_id = await register(connection)
    claims = Claims(pool, identity, Targets(settings.vault(), Places(settings.relay_concurrency_per_webhook)))
    with pytest.raises(Unclaimable):
        await claims.claim([(webhook.id, 1)], [None], most=1, suspects=False)
    claimed = await claims.claim([(webhook.id, 1)], [None], most=1, suspects=False)
    assert [lease.position for lease in claimed.leases] == [events[0].position]
    ended = await connection.fetch("select position from attempts where outcome = 'failed'")
    assert [row["position"] for row in ended] == [events[-1].position]


async def test_a_fault_in_what_follows_a_failure_ends_with_it(world: BadRows) -> None:
    for step, needle, error in cases("a failure"):
        async with world.failing(step, error, "/bad", max_retries=0) as bad:
            # The receiver has failed for so long that the next failure disables the webhook.
            await world.connection.execute(
                "update receiver_health set failures = 20, failing_since = now() - interval '30 days', opened_at = now(), probe_at = now(),"
                " failed_events = '{1,2,3}' where webhook_id = $1",
                bad.id,
            )
            if step == "settle.write_notices":
                needle = ""
            world.failing_step.set(step, bad.id if needle == "ID" else needle, error)
            event_id = await write_event(world.connection, routed=True)
            await world.delivered(event_id)
            await has_ended(world, bad, event_id)
            if step != "settle.begin_anew":
                await world.met()
            await world.others_are_delivered()


@pytest.mark.parametrize("on_failure", ["block", "skip"])
async def test_a_fault_in_an_items_order_stops_no_other(world: BadRows, on_failure: str) -> None:
    for step, _, error in cases("an event in order"):
        async with world.failing(step, error, "/bad", max_retries=0, ordering="item", on_failure=on_failure) as bad:
            world.failing_step.set(step, bad.id, error)
            data = json.dumps({"itemId": str(new_id())})
            event_id = await write_event(world.connection, data=data, routed=True)
            await world.delivered(event_id)
            await has_ended(world, bad, event_id)
            await world.others_are_delivered()


async def test_a_row_by_psql_that_cannot_be_read_is_set_aside(world: BadRows) -> None:
    for step, needle, error in cases("a row by psql"):
        async with world.failing(step, error):
            name = "bad-row"
            world.failing_step.set(step, name if needle == "ID" else needle, error)
            # The bad row comes first in a batch with a good one.
            async with world.connection.transaction():
                bad = await write_event(world.connection, data=json.dumps({"name": name}))
                good = await write_event(world.connection)
            await world.delivered(good)
            if step != "fanout.set_aside":
                await world.met()
                reason = await world.connection.fetchval("select reason from set_aside where id = $1", bad)
                assert reason == f"{type(error()).__name__}: {error()}"


async def test_a_fault_in_a_test_ends_the_test(world: BadRows) -> None:
    async def ask(webhook: Webhook) -> UUID:
        test_id: UUID = await world.connection.fetchval(
            "insert into webhook_tests (webhook_id, expires_at) values ($1, now() + interval '60 seconds') returning id",
            webhook.id,
        )
        return test_id

    async def finished(test_id: UUID) -> str:
        row = await world.connection.fetchrow("select * from webhook_tests where id = $1", test_id)
        assert row is not None
        return str(row["error"] or row["status"] or "") if row["finished_at"] else ""

    for step, needle, error in cases("a test"):
        async with world.failing(step, error, "/bad") as bad:
            async with world.connection.transaction():
                test_id = await ask(bad)
                if step == "tester.finish_test":
                    needle = str(test_id)
                world.failing_step.set(step, bad.id if needle == "ID" else needle, error)
                await world.connection.execute("insert into lane_wakes values ($1)", bad.id)
            await world.met()
            other = await ask(world.good)
            # No hint announces the other test, and it is found all the same.
            await until(lambda other=other: finished(other), "the other test is made")  # type: ignore[misc]
            assert await finished(other) == "200"
            if step != "tester.finish_test":
                await until(lambda test_id=test_id: finished(test_id), "the test has ended")  # type: ignore[misc]
                assert str(error()) in await finished(test_id)


async def test_a_fault_in_a_replay_ends_that_job_only(world: BadRows) -> None:
    async def job(webhook: Webhook, through: int) -> UUID:
        job_id: UUID = await world.connection.fetchval(
            "insert into replay_jobs (webhook_id, since, until, wanted, position, through)"
            " values ($1, now() - interval '1 day', now() + interval '1 day', 'missing', $2, $3) returning id",
            webhook.id,
            through - 2,
            through,
        )
        return job_id

    async def state(job_id: UUID) -> str:
        return str(await world.connection.fetchval("select state from replay_jobs where id = $1", job_id))

    for step, _, error in cases("a replay"):
        async with world.failing(step, error) as bad:
            missed = [await world.log.event() for _ in range(2)]
            async with world.connection.transaction():
                first = await job(bad, missed[-1].position)
                world.failing_step.set(step, first if step in {"replay.lock_job", "replay.end_job"} else bad.id, error)
                second = await job(world.good, missed[-1].position)
                await world.connection.execute("insert into lane_wakes values ($1)", bad.id)
            for event in missed:
                await world.delivered(event.id)

            async def done(second: UUID = second) -> bool:
                return await state(second) == "done"

            await until(done, "the other job is done")
            if step != "replay.end_job":
                await world.met()

                async def failed(first: UUID = first) -> bool:
                    return await state(first) == "failed"

                await until(failed, "the job has failed")
                why = await world.connection.fetchval("select error from replay_jobs where id = $1", first)
                assert why == f"{type(error()).__name__}: {error()}"


async def test_a_fault_in_a_backlog_that_is_dropped_keeps_no_other(world: BadRows) -> None:
    for step, _, error in cases("a discarded backlog"):
        async with world.failing(step, error) as bad:
            other = await world.bad()
            for webhook in (bad, other):
                await world.connection.execute("update webhooks set active = false where id = $1", webhook.id)
                await world.log.event(webhook.id)
            world.failing_step.set(step, bad.id, error)
            async with world.connection.transaction():
                await world.connection.execute(
                    "update webhooks set discard_through = 100000 where id = any ($1)", [bad.id, other.id]
                )
                await world.connection.execute("insert into lane_wakes values ($1)", bad.id)

            async def cancelled(other: Webhook = other) -> bool:
                return bool(
                    await world.connection.fetchval(
                        "select exists (select from attempts where webhook_id = $1 and outcome = 'cancelled')", other.id
                    )
                )

            await until(cancelled, "the other's backlog has ended")


async def test_housekeeping_leaves_out_what_cannot_be_ended(
    connection: Connection, settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if PostgreSQL refuses the statement for all rows, in whichever step."""
    log = RelayLog(connection)
    old = datetime.now(UTC) - timedelta(days=40)
    await log.partition(old)
    webhooks = [await add_webhook(connection, settings, "http://127.0.0.1:9/", [TYPE]) for _ in range(3)]
    events = [await log.event(webhook.id, at=old) for webhook in webhooks]
    # This constraint stands for any fault that the checks do not find.
    await connection.execute(
        f"alter table attempts add constraint no_bad check (webhook_id <> '{webhooks[1].id}' or outcome <> 'expired')"
    )
    await connection.execute("insert into login_failures values ('x', 'y', now() - interval '30 days')")
    failing_step = FailingStep(monkeypatch)
    failing_step.set("retention.forget_orders", "", defect)
    await housekeeping(pool, settings).once()
    assert failing_step.hits == 1
    ended = await connection.fetch("select event_id from attempts where outcome = 'expired'")
    assert {row["event_id"] for row in ended} == {events[0].id, events[2].id}
    assert await connection.fetchval("select count(*) from login_failures") == 0


async def test_a_delivery_that_cannot_be_claimed_ends_and_the_others_of_its_lane_follow(world: BadRows) -> None:
    bad = await world.bad()
    events = [await world.log.event() for _ in range(5)]
    # This constraint stands for any fault that the checks do not find.
    await world.connection.execute(
        f"alter table deliveries add constraint no_bad check (position <> {events[2].position} or leased_by is null)"
    )
    async with world.connection.transaction():
        for event in events:
            await world.connection.execute(
                "insert into deliveries (webhook_id, position, event_id, event_type, event_at) values ($1, $2, $3, $4, $5)",
                bad.id,
                event.position,
                event.id,
                event.type,
                event.recorded_at,
            )
        await world.connection.execute("insert into lane_wakes values ($1)", bad.id)
    for event in events:
        await has_ended(world, bad, event.id)
    rows = await world.connection.fetch(
        "select position, outcome, error from attempts where webhook_id = $1 order by position", bad.id
    )
    assert [row["outcome"] for row in rows] == ["success", "success", "failed", "success", "success"]
    assert rows[2]["error"].startswith("it cannot be claimed: CheckViolationError: ")


async def test_a_delivery_that_stands_where_the_log_has_not_come_to_keeps_no_event_from_others(world: BadRows) -> None:
    bad = await world.bad(max_retries=0)
    event = await world.log.event()
    for ahead in (1, 2):
        await world.connection.execute(
            "insert into deliveries (webhook_id, position, event_id, event_type, event_at, next_attempt_at)"
            " values ($1, $2, $3, $4, $5, now() + interval '1 hour')",
            bad.id,
            event.position + ahead,
            event.id,
            event.type,
            event.recorded_at,
        )
    for _ in range(2):
        await world.others_are_delivered()
    assert await world.connection.fetchval("select count(*) from set_aside") == 0
    rows = await world.connection.fetch(
        "select outcome, error from attempts where webhook_id = $1 and event_id = $2", bad.id, event.id
    )
    assert {row["outcome"] for row in rows} == {"failed"}
    assert all("had not been given yet" in row["error"] for row in rows)


async def test_headers_that_are_not_headers_fail_their_own_deliveries_in_a_relay_as_it_runs(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    good = await add_webhook(connection, settings, receiver.url, [TYPE])
    bad = await add_webhook(connection, settings, receiver.url + "/bad", [TYPE])
    (relay,) = await relays.start()
    await connection.execute(
        "update webhooks set headers_sealed = secret_sealed, version = version + 1 where id = $1", bad.id
    )
    event_id = await write_event(connection)
    await relays.idle()
    assert receiver.ids() == [str(event_id)]
    rows = await connection.fetch("select webhook_id, outcome, error from attempts")
    assert {row["webhook_id"]: (row["outcome"], row["error"]) for row in rows} == {
        good.id: ("success", None),
        bad.id: ("failed", "cannot sign: what is sealed as headers is not JSON"),
    }
    assert relay.exit_code is None
