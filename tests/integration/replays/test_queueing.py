"""Replays: the events that they take, their counts, and the queue afterwards."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from relay.lead import replay
from service.platform.clock import iso
from service.platform.ids import new_id
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook, stats_of
from tests.support.api.webhooks import retry as retry_one
from tests.support.database import Connection
from tests.support.relay.replays import A_WHILE_AGO, Leader, ask_replay, dry_run, show_job

# What is sent again


async def test_a_replay_queues_what_failed_under_a_fresh_policy(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection
) -> None:
    events = await leader.write_many(4)
    await leader.end(webhook_id, events[:1], "success")
    await leader.log.attempt(webhook_id, events[1], "retry", status=500)
    await leader.end(webhook_id, events[1:3])
    before = await stats_of(owner, webhook_id)

    answer = await owner.post(f"/webhooks/{webhook_id}/replay", {"since": A_WHILE_AGO})
    assert answer.status == 202
    job = answer.body["job"]
    assert answer.headers["Location"] == f"/api/v1/webhooks/{webhook_id}/replays/{job['id']}"
    assert (job["status"], job["total"], job["done"], job["startedAt"], job["endedAt"]) == ("queued", 2, 0, None, None)
    until = job["request"].pop("until")
    assert A_WHILE_AGO < until <= job["createdAt"]
    assert job["request"] == {"since": "2020-01-01T00:00:00.000Z", "status": "failed", "types": None}
    assert await connection.fetchval("select webhook_id from lane_wakes") == UUID(webhook_id)

    await leader.work()

    shown = await show_job(owner, webhook_id, job)
    assert (shown["status"], shown["done"], shown["error"]) == ("done", 2, None)
    assert shown["startedAt"]
    assert shown["endedAt"]
    rows = await connection.fetch(
        "select position, attempts, attempts_before, next_attempt_at <= now() as due from deliveries order by position"
    )
    assert [tuple(row) for row in rows] == [
        (events[1].position, 2, 2, True),
        (events[2].position, 1, 1, True),
        (events[3].position, 0, 0, True),
    ]
    assert list(leader.board.agenda.turns) == leader.board.take_hints() == [UUID(webhook_id)]
    assert await stats_of(owner, webhook_id) == {**before, "failedCount": 0, "pendingCount": 3}
    await leader.check_nothing_is_amiss()


async def test_a_new_webhook_is_given_what_happened_before_it_existed(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection
) -> None:
    events = await leader.write_many(3)
    late = (await make_webhook(owner))["id"]
    assert (await dry_run(owner, late, status="failed"))["count"] == 0
    assert (await dry_run(owner, late, status="missing"))["count"] == 3
    await ask_replay(owner, late, status="missing")
    await leader.work()
    assert await leader.pending(late) == [event.position for event in events]
    assert [tuple(row) for row in await connection.fetch("select distinct deliveries from events")] == [(2,)]
    await leader.check_nothing_is_amiss()
    assert (await dry_run(owner, late, status="missing"))["count"] == 0


async def test_what_was_missed_is_what_the_webhook_wants_today_and_its_owner_may_read(
    owner: Caller, webhook_id: str, leader: Leader, api: Api, sign_up: SignUp
) -> None:
    admin = Caller(api, await sign_up("admin"))
    here, there = [(await admin.make("/locations", name=name))["id"] for name in ("Here", "There")]
    await leader.connection.execute("delete from outbox")
    await leader.write({"location_id": here}, {"location_id": there}, {"name": "nowhere"})
    await leader.write({"currentStock": 2}, {"currentStock": 9}, type="low-stock-alert")
    await leader.write({"userId": str(owner.token.user_id)}, {"userId": str(new_id())}, type="user-login")

    types = ["item-created", "low-stock-alert", "user-login"]
    fields: dict[str, Any] = {"events": types, "filters": {"locations": [here], "minStockThreshold": 5}}
    of_owner = (await make_webhook(owner, **fields))["id"]
    of_admin = (await make_webhook(admin, **fields))["id"]
    assert (await dry_run(owner, of_owner, status="missing"))["byType"] == {
        "item-created": 2,
        "low-stock-alert": 1,
        "user-login": 1,
    }
    assert (await dry_run(admin, of_admin, status="missing"))["byType"]["user-login"] == 2
    job = await ask_replay(owner, of_owner, status="missing", types=["item-created"])
    await leader.work()
    assert (await show_job(owner, of_owner, job))["done"] == len(await leader.pending(of_owner)) == 2


async def test_what_the_owner_may_no_longer_read_is_not_sent_again(
    owner: Caller, leader: Leader, connection: Connection
) -> None:
    await connection.execute("update users set role = 'admin'")
    webhook_id = (await make_webhook(owner, events=["user-login"]))["id"]
    await leader.end(webhook_id, await leader.write({"userId": str(new_id())}, type="user-login"))
    assert (await dry_run(owner, webhook_id))["count"] == 1
    await connection.execute("update users set role = 'worker'")
    assert (await dry_run(owner, webhook_id))["count"] == 0


@pytest.mark.parametrize(
    ("status", "queued"), [("failed", [1, 2, 3]), ("success", [0]), ("missing", [5]), ("all", [0, 1, 2, 3, 5])]
)
async def test_a_status_says_what_is_sent_again_and_a_dry_run_counts_just_that(
    status: str, queued: list[int], owner: Caller, webhook_id: str, leader: Leader
) -> None:
    events = await leader.write_many(5)
    for event, outcome in zip(events, ("success", "failed", "cancelled", "expired"), strict=False):
        await leader.end(webhook_id, [event], outcome)
    await owner.put(f"/webhooks/{webhook_id}", {"active": False})
    events += await leader.write_many(1)
    await owner.put(f"/webhooks/{webhook_id}", {"active": True})
    pending = set(await leader.pending(webhook_id))
    assert pending == {events[4].position}

    counted = await dry_run(owner, webhook_id, status=status)
    assert set(await leader.pending(webhook_id)) == pending
    assert (await owner.get(f"/webhooks/{webhook_id}/replays")).body["total"] == 0
    await ask_replay(owner, webhook_id, status=status)
    await leader.work()
    now_pending = set(await leader.pending(webhook_id)) - pending
    assert now_pending == {events[number].position for number in queued}
    assert counted["count"] == counted["byType"]["item-created"] == len(queued)
    assert counted["oldest"] <= counted["newest"]
    await leader.check_nothing_is_amiss()


async def test_a_range_is_of_when_things_happened_with_its_end_left_out(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection
) -> None:
    events = await leader.write_many(3)
    await leader.end(webhook_id, events)
    times = [datetime.now(UTC).replace(microsecond=0) - timedelta(hours=hours) for hours in (3, 2, 1)]
    for event, moment in zip(events, times, strict=True):
        await connection.execute("update events set occurred_at = $1 where position = $2", moment, event.position)
    counted = await dry_run(owner, webhook_id, since=iso(times[0]), until=iso(times[2]))
    assert counted == {
        "count": 2,
        "byType": {"item-created": 2},
        "oldest": iso(times[0]),
        "newest": iso(times[1]),
    }
    assert (await dry_run(owner, webhook_id, since=iso(times[1])))["count"] == 2
    nothing = await dry_run(owner, webhook_id, since=iso(datetime.now(UTC) - timedelta(minutes=1)))
    assert nothing == {"count": 0, "byType": {}, "oldest": None, "newest": None}


async def test_what_is_older_than_the_history_is_not_sent_again(owner: Caller, webhook_id: str, leader: Leader) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=31)
    await leader.log.partition(long_ago)
    await leader.log.failed(webhook_id, at=long_ago)
    assert (await dry_run(owner, webhook_id, status="all"))["count"] == 0


async def test_events_that_come_after_a_replay_was_asked_for_are_not_its(
    owner: Caller, webhook_id: str, leader: Leader
) -> None:
    await leader.end(webhook_id, await leader.write_many(1))
    job = await ask_replay(owner, webhook_id, until="2100-01-01T00:00:00+02:00")
    await leader.end(webhook_id, await leader.write_many(1))
    await leader.work()
    assert (await show_job(owner, webhook_id, job))["done"] == 1


# How it goes on


async def test_a_replay_goes_on_in_batches_as_its_lane_empties_and_another_leader_takes_it_over(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MAX_DUE": 5, "LEAST_BATCH": 2, "SCAN": 7}.items():
        monkeypatch.setattr(replay, name, value)
    events = await leader.write_many(20)
    await leader.end(webhook_id, events)
    job = await ask_replay(owner, webhook_id)
    sizes = []
    while (shown := await show_job(owner, webhook_id, job))["status"] != "done":
        assert shown["status"] in {"queued", "running"}
        # Each time as after a restart: the state is only in the database.
        await Leader(leader.pool, connection, leader.url).work()
        pending = await leader.pending(webhook_id)
        sizes.append(len(pending))
        due = [event for event in events if event.position in pending]
        await leader.end(webhook_id, due, "success")
        assert len(sizes) <= 20
    assert max(sizes) == 5
    assert sum(sizes) == shown["done"] == 20
    await leader.check_nothing_is_amiss()


async def test_overlapping_replays_queue_each_event_once(owner: Caller, webhook_id: str, leader: Leader) -> None:
    await leader.end(webhook_id, await leader.write_many(3))
    late = (await make_webhook(owner))["id"]
    jobs = [await ask_replay(owner, webhook_id) for _ in range(2)]
    missing = [await ask_replay(owner, late, status=status) for status in ("missing", "all")]
    await leader.work()
    assert [(await show_job(owner, webhook_id, job))["done"] for job in jobs] == [3, 0]
    assert [(await show_job(owner, late, job))["done"] for job in missing] == [3, 0]
    await leader.check_nothing_is_amiss()


async def test_a_replay_passes_over_what_was_retried_by_hand_meanwhile(
    owner: Caller, webhook_id: str, leader: Leader
) -> None:
    events = await leader.write_many(2)
    await leader.end(webhook_id, events)
    job = await ask_replay(owner, webhook_id)
    assert (await retry_one(owner, webhook_id, events[0])).status == 200
    await leader.work()
    shown = await show_job(owner, webhook_id, job)
    assert (shown["total"], shown["done"]) == (2, 1)
    await leader.check_nothing_is_amiss()


async def test_a_replay_waits_while_its_webhook_is_parked(owner: Caller, webhook_id: str, leader: Leader) -> None:
    await leader.end(webhook_id, await leader.write_many(1))
    job = await ask_replay(owner, webhook_id)
    await owner.put(f"/webhooks/{webhook_id}", {"active": False})
    await leader.work()
    assert (await show_job(owner, webhook_id, job))["status"] == "queued"
    await owner.put(f"/webhooks/{webhook_id}", {"active": True})
    await leader.work()
    assert (await show_job(owner, webhook_id, job))["status"] == "done"


async def test_a_replay_waits_until_what_was_discarded_has_been_ended(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection
) -> None:
    events = await leader.write_many(2)
    await leader.end(webhook_id, events[:1])
    await owner.put(f"/webhooks/{webhook_id}", {"active": True, "pending": "discard"})
    job = await ask_replay(owner, webhook_id)
    await leader.work()
    assert (await show_job(owner, webhook_id, job))["status"] == "queued"
    await leader.end(webhook_id, events[1:], "cancelled")
    await leader.work()
    assert (await show_job(owner, webhook_id, job))["done"] == 2
    assert await connection.fetchval("select discard_through from webhooks") == 0


async def test_a_deleted_webhooks_replay_is_cancelled(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection
) -> None:
    await leader.end(webhook_id, await leader.write_many(1))
    await ask_replay(owner, webhook_id)
    await owner.delete(f"/webhooks/{webhook_id}")
    await leader.work()
    row = await connection.fetchrow("select state, done from replay_jobs")
    assert row is not None
    assert tuple(row) == ("cancelled", 0)


async def test_a_replay_that_cannot_go_on_fails_with_the_reason_and_stops_no_other(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection
) -> None:
    await leader.end(webhook_id, await leader.write_many(1))
    other = (await make_webhook(owner))["id"]
    bad, good = await ask_replay(owner, webhook_id), await ask_replay(owner, other, status="missing")
    await connection.execute(
        f"alter table deliveries add constraint refused check (webhook_id <> '{webhook_id}') not valid"
    )
    await leader.work()
    shown = await show_job(owner, webhook_id, bad)
    assert (shown["status"], shown["done"]) == ("failed", 0)
    assert "refused" in shown["error"]
    assert (await show_job(owner, other, good))["status"] == "done"
