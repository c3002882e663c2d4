"""Replay jobs are requested, shown, cancelled, forgotten and refused."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from service.api import admission
from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.relay.parts import housekeeping
from tests.support.relay.replays import A_WHILE_AGO, Leader, ask_replay, show_job

# The jobs


async def test_a_cancelled_replay_queues_nothing_more(owner: Caller, webhook_id: str, leader: Leader) -> None:
    await leader.end(webhook_id, await leader.write_many(1))
    job = await ask_replay(owner, webhook_id)
    path = f"/webhooks/{webhook_id}/replays/{job['id']}"
    cancelled = await owner.delete(path)
    assert (cancelled.status, cancelled.body["job"]["status"]) == (200, "cancelled")
    await leader.work()
    assert await leader.pending(webhook_id) == []
    assert (await owner.delete(path)).body == cancelled.body

    done = await ask_replay(owner, webhook_id)
    await leader.work()
    refused = await owner.delete(f"/webhooks/{webhook_id}/replays/{done['id']}")
    assert refused.status == 409
    assert "done" in refused.body["error"]


async def test_replays_are_listed_newest_first(owner: Caller, webhook_id: str) -> None:
    jobs = [await ask_replay(owner, webhook_id, types=["item-created"]) for _ in range(3)]
    listed = (await owner.get(f"/webhooks/{webhook_id}/replays", skip="1", limit="1")).body
    assert listed == {"jobs": [jobs[1]], "total": 3, "skip": 1, "limit": 1}


async def test_replays_are_forgotten_a_while_after_they_ended(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection, settings: Settings
) -> None:
    jobs = [await ask_replay(owner, webhook_id) for _ in range(2)]
    await leader.work()
    await connection.execute(
        "update replay_jobs set ended_at = now() - interval '31 days' where id = $1", jobs[0]["id"]
    )
    open_job = await ask_replay(owner, webhook_id)
    await housekeeping(leader.pool, settings).once()
    listed = (await owner.get(f"/webhooks/{webhook_id}/replays")).body["jobs"]
    assert [job["id"] for job in listed] == [open_job["id"], jobs[1]["id"]]
    assert (await owner.get(f"/webhooks/{webhook_id}/replays/{jobs[0]['id']}")).status == 404


async def test_replays_are_in_the_audit_trail(owner: Caller, webhook_id: str, connection: Connection) -> None:
    job = await ask_replay(owner, webhook_id)
    await owner.delete(f"/webhooks/{webhook_id}/replays/{job['id']}")
    rows = await connection.fetch("select action, entity_id, after from audit where action like '%replay' order by at")
    assert [(row["action"], row["entity_id"]) for row in rows] == [
        ("replay", UUID(webhook_id)),
        ("cancel-replay", UUID(webhook_id)),
    ]
    assert all(orjson.loads(row["after"])["jobId"] == job["id"] for row in rows)


async def test_a_range_that_takes_too_long_to_count_can_be_replayed_without_a_total(
    owner: Caller, webhook_id: str, leader: Leader, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await leader.end(webhook_id, await leader.write_many(1))
    monkeypatch.setattr(admission, "STATEMENT_MS", 1000)
    async with connection.transaction():
        # The count waits for this lock.
        await connection.execute("lock table attempts")
        dry = await owner.post(f"/webhooks/{webhook_id}/replay", {"since": A_WHILE_AGO, "dryRun": True})
        job = await ask_replay(owner, webhook_id)
    assert (dry.status, dry.body["count"], dry.body["countIsMinimum"]) == (200, 0, True)
    assert job["total"] is None
    await leader.work()
    assert (await show_job(owner, webhook_id, job))["done"] == 1


# Refusals


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"since": None}, "/since"),
        ({"since": 1700000000}, "/since"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-02-18T09:30:00"}, "/since"),
        ({"since": "2999-01-01T00:00:00Z"}, "/since"),
        ({"until": "2019-01-01T00:00:00Z"}, "/until"),
        ({"until": A_WHILE_AGO}, "/until"),
        ({"status": "pending"}, "/status"),
        ({"types": []}, "/types"),
        ({"types": ["no-such-type"]}, "/types/0"),
        ({"dryRun": "yes"}, "/dryRun"),
    ],
)
async def test_a_replay_that_makes_no_sense_is_refused(
    fields: dict[str, Any], pointer: str, owner: Caller, webhook_id: str
) -> None:
    answer = await owner.post(f"/webhooks/{webhook_id}/replay", {"since": A_WHILE_AGO, **fields})
    assert (answer.status, answer.pointers) == (400, [pointer])


async def test_since_is_needed(owner: Caller, webhook_id: str) -> None:
    answer = await owner.post(f"/webhooks/{webhook_id}/replay", None)
    assert (answer.status, answer.pointers) == (400, ["/since"])


async def test_an_inactive_webhook_is_not_replayed_and_a_deleted_one_is_unknown(owner: Caller, webhook_id: str) -> None:
    await owner.put(f"/webhooks/{webhook_id}", {"active": False})
    for dry in (True, False):
        answer = await owner.post(f"/webhooks/{webhook_id}/replay", {"since": A_WHILE_AGO, "dryRun": dry})
        assert answer.status == 409
        assert "active" in answer.body["error"]
    await owner.delete(f"/webhooks/{webhook_id}")
    assert (await owner.post(f"/webhooks/{webhook_id}/replay", {"since": A_WHILE_AGO})).status == 404


async def test_replays_are_for_the_owner_and_admins(owner: Caller, webhook_id: str, api: Api, sign_up: SignUp) -> None:
    job = await ask_replay(owner, webhook_id)
    other = (await make_webhook(owner))["id"]
    stranger, admin = Caller(api, await sign_up("supervisor")), Caller(api, await sign_up("admin"))
    routes = [
        ("POST", f"/webhooks/{webhook_id}/replay", {"since": A_WHILE_AGO}, 202),
        ("GET", f"/webhooks/{webhook_id}/replays", None, 200),
        ("GET", f"/webhooks/{webhook_id}/replays/{job['id']}", None, 200),
        ("DELETE", f"/webhooks/{webhook_id}/replays/{job['id']}", None, 200),
    ]
    for method, path, body, status in routes:
        assert (await stranger.ask(method, path, body)).status == 403
        assert (await admin.ask(method, path, body)).status == status
        unknown = path.replace(webhook_id, str(new_id()))
        assert (await owner.ask(method, unknown, body)).status == 404
    for method in ("GET", "DELETE"):
        for path in (f"/webhooks/{other}/replays/{job['id']}", f"/webhooks/{webhook_id}/replays/{new_id()}"):
            assert (await owner.ask(method, path)).status == 404
