"""The pull cursor skips nothing and repeats nothing, and a wait costs nothing once the reader has
gone."""

import asyncio
import hashlib
import hmac
import json
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestServer

from relay.lead.fanout import FanOut
from service.platform.db import CONTENDED, open_pool
from service.platform.ids import new_id
from service.webhooks import stream
from service.webhooks.stream import WATCH, LogWatch
from tests.support.api.caller import Answer, Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.relay.replays import Leader


async def _read(caller: Caller, webhook_id: str, **query: str) -> Any:
    answer = await caller.get(f"/webhooks/{webhook_id}/stream", **query)
    assert answer.status == 200, answer.body
    return answer.body


def _positions(page: Any) -> list[int]:
    return [int(event["position"]) for event in page["events"]]


def _next(page: Any) -> int:
    """The position in a cursor."""
    return int(page["next"].partition("-")[0])


def _is_empty_up_to(page: Any, position: int) -> bool:
    return (page["events"], _next(page)) == ([], position)


def _watch(caller: Caller) -> LogWatch:
    server = caller.api.server
    assert isinstance(server, TestServer)
    return server.app[WATCH]


async def _wait(caller: Caller, webhook_id: str, **query: str) -> "asyncio.Task[Answer]":
    """A request that is waiting by now."""
    before = _watch(caller).waiting
    task = asyncio.create_task(caller.get(f"/webhooks/{webhook_id}/stream", wait="60", **query))
    await _until_waiting(caller, before + 1)
    return task


async def _until_waiting(caller: Caller, count: int) -> None:
    async with asyncio.timeout(30):
        while _watch(caller).waiting != count:
            await asyncio.sleep(0.01)


# What is read


async def test_a_webhook_reads_its_events_in_order_signed_as_if_they_were_sent(owner: Caller, leader: Leader) -> None:
    await leader.write_many(2)
    webhook = await make_webhook(owner, events=["item-created", "item-deleted"])
    events = await leader.write({"name": "“Pump” ½"}, {"name": "b"})
    await leader.write({"name": "c"}, type="item-updated")

    page = await _read(owner, webhook["id"])
    assert list(page["events"][0]) == ["id", "eventType", "data", "timestamp", "position", "signature"]
    assert [event["id"] for event in page["events"]] == [str(event.id) for event in events]
    assert page["events"][0]["data"] == {"name": "“Pump” ½"}
    for event in page["events"]:
        data = json.dumps(event["data"], ensure_ascii=False, separators=(",", ":"))
        expected = hmac.digest(webhook["secret"].encode(), data.encode(), hashlib.sha256).hex()
        assert event["signature"] == expected
    # The cursor is also past the event that this webhook does not want.
    assert (_positions(page), _next(page)) == ([3, 4], 5)
    again = await _read(owner, webhook["id"], after=page["next"])
    assert again == {"events": [], "next": page["next"]}

    for beginning in ("earliest", "0"):
        assert _positions(await _read(owner, webhook["id"], after=beginning)) == [1, 2, 3, 4]
    assert _positions(await _read(owner, webhook["id"], after="2", limit="1")) == [3]
    assert _next(await _read(owner, webhook["id"], after="2", limit="1")) == 3


async def test_reading_has_nothing_to_do_with_sending(owner: Caller, leader: Leader) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    first = await leader.write_many(1)
    await leader.end(webhook_id, first, "success")
    await owner.put(f"/webhooks/{webhook_id}", {"active": False})
    second = await leader.write_many(1)
    assert _positions(await _read(owner, webhook_id)) == [first[0].position, second[0].position]


async def test_a_webhook_reads_what_it_wants_today_and_its_owner_may_read(
    owner: Caller, leader: Leader, api: Api, sign_up: SignUp
) -> None:
    admin = Caller(api, await sign_up("admin"))
    events = ["low-stock-alert", "user-login"]
    webhook_id = (await make_webhook(owner, events=events, filters={"minStockThreshold": 5}))["id"]
    of_admin = (await make_webhook(admin, events=events))["id"]
    await leader.write({"currentStock": 2}, {"currentStock": 9}, type="low-stock-alert")
    await leader.write({"userId": str(owner.token.user_id)}, {"userId": str(new_id())}, type="user-login")
    assert _positions(await _read(owner, webhook_id)) == [1, 3]
    # An admin reads the stream of another user with that user's rights.
    assert _positions(await _read(admin, webhook_id)) == [1, 3]
    assert _positions(await _read(admin, of_admin)) == [1, 2, 3, 4]
    await owner.put(f"/webhooks/{webhook_id}", {"filters": None})
    assert _positions(await _read(owner, webhook_id)) == [1, 2, 3]


async def test_a_page_is_bounded_in_bytes_and_goes_on_where_it_ended(
    owner: Caller, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    await leader.write(*({"name": "x" * 300} for _ in range(5)))
    monkeypatch.setattr(stream, "MAX_PAGE_BYTES", 700)
    pages = [await _read(owner, webhook_id, after="earliest")]
    while pages[-1]["events"]:
        pages.append(await _read(owner, webhook_id, after=pages[-1]["next"]))
    assert [_positions(page) for page in pages] == [[1, 2], [3, 4], [5], []]
    # An event that is larger than a page is a page of its own.
    monkeypatch.setattr(stream, "MAX_PAGE_BYTES", 10)
    assert _positions(await _read(owner, webhook_id, after="earliest")) == [1]


async def test_a_stretch_of_which_the_webhook_wants_nothing_is_passed_over_and_not_looked_at_again(
    owner: Caller, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    await leader.write(*({} for _ in range(25)), type="item-deleted")
    await leader.write_many(3)
    monkeypatch.setattr(stream, "SCAN", 10)
    page = await _read(owner, webhook_id, after="earliest", limit="2")
    assert (_positions(page), _next(page)) == ([26, 27], 27)
    # The time for one search is over: the answer ends there, however long the caller would have
    # waited.
    monkeypatch.setattr(stream, "LOOK_SECONDS", 0)
    assert _is_empty_up_to(await _read(owner, webhook_id, after="earliest", wait="60"), 10)
    assert _positions(await _read(owner, webhook_id, after="20", wait="60")) == [26, 27, 28]


# Never a gap


async def test_readers_skip_nothing_and_repeat_nothing_while_two_leaders_fan_out(
    owner: Caller, leader: Leader, database_url: str
) -> None:
    """Positions are assigned under the lock of log_head, so they become visible in order, whichever
    leader assigns them."""
    events, writers, readers = 1500, 3, 4
    webhook_id = (await make_webhook(owner))["id"]
    written = asyncio.Event()

    async def write(number: int) -> None:
        connection = await asyncpg.connect(database_url)
        try:
            for _ in range(events // writers):
                await connection.execute("insert into outbox (type, data) values ('item-created', '{}')")
        finally:
            await connection.close()

    async def fan_out() -> None:
        fanout = FanOut(leader.pool)
        taken = 1
        while taken or not written.is_set():
            try:
                taken = (await fanout.batch()).taken
            except CONTENDED:
                # Two leaders may route the same rows at once, in any order. A leader tries again,
                # too.
                taken = 1
            await asyncio.sleep(0)

    async def read(wait: str) -> list[int]:
        seen: list[int] = []
        after = "earliest"
        while not seen or seen[-1] < events:
            page = await _read(owner, webhook_id, after=after, limit="100", wait=wait)
            seen += _positions(page)
            after = page["next"]
        return seen

    leaders = [asyncio.create_task(fan_out()) for _ in range(2)]
    reading = [asyncio.create_task(read(wait)) for wait in ("0", "0", "60", "60")]
    assert len(reading) == readers
    await asyncio.gather(*(write(number) for number in range(writers)))
    written.set()
    await asyncio.gather(*leaders)
    async with asyncio.timeout(60):
        for seen in await asyncio.gather(*reading):
            assert seen == list(range(1, events + 1))


async def test_a_cursor_older_than_the_log_is_told_where_the_log_begins(
    owner: Caller, leader: Leader, connection: Connection
) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    await leader.write_many(5)
    await connection.execute("delete from events where position < 4")
    gone = await owner.get(f"/webhooks/{webhook_id}/stream", after="2")
    assert (gone.status, gone.body["earliest"]) == (410, "4")
    assert gone.headers["Content-Type"] == "application/problem+json"
    assert "dropped" in gone.body["error"]
    # No event after position 3 was dropped.
    for after in ("3", "earliest", "0"):
        assert _positions(await _read(owner, webhook_id, after=after)) == [4, 5]
    await connection.execute("delete from events")
    assert (await owner.get(f"/webhooks/{webhook_id}/stream", after="4")).body["earliest"] == "6"
    assert await _read(owner, webhook_id) == await _read(owner, webhook_id, after="5") == {"events": [], "next": "5"}


# Waiting


async def test_who_waits_is_answered_when_something_wanted_happens(owner: Caller, leader: Leader) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    other = (await make_webhook(owner, events=["item-deleted"]))["id"]
    waiting, elsewhere = await _wait(owner, webhook_id), await _wait(owner, other)
    await leader.write({"name": "not wanted here"}, type="item-deleted")
    assert _positions((await elsewhere).body) == [1]
    assert not waiting.done()
    await leader.write_many(1)
    answer = (await waiting).body
    assert (_positions(answer), _next(answer)) == ([2], 2)
    await _until_waiting(owner, 0)


async def test_a_wait_that_ends_in_vain_says_how_far_was_looked(owner: Caller, leader: Leader) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    await leader.write({}, type="item-deleted")
    assert _is_empty_up_to(await _read(owner, webhook_id, wait="1"), 1)
    assert _watch(owner).waiting == 0


async def test_a_client_that_goes_away_leaves_nothing_behind(owner: Caller) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    waiting = await _wait(owner, webhook_id)
    waiting.cancel()
    await _until_waiting(owner, 0)


async def test_what_ended_meanwhile_is_not_answered(
    owner: Caller, leader: Leader, connection: Connection, api: Api, sign_up: SignUp
) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    deleted = (await make_webhook(owner))["id"]
    former = Caller(api, await sign_up("admin"))
    of_owner = await _wait(owner, webhook_id)
    of_former = await _wait(former, webhook_id)
    of_deleted = await _wait(former, deleted)
    await owner.delete(f"/webhooks/{deleted}")
    await connection.execute("update users set role = 'worker' where id = $1", former.token.user_id)
    await connection.execute(
        "update sessions set ended_at = now(), end_reason = 'logout' where id = $1", owner.token.session_id
    )
    await leader.write_many(1)
    assert [(await task).status for task in (of_owner, of_former, of_deleted)] == [401, 403, 404]


async def test_who_waits_hears_that_the_database_is_away(database_url: str) -> None:
    pool = await open_pool(database_url, application_name="test", size=1)
    pool.terminate()
    watch = LogWatch()
    with pytest.raises(asyncpg.InterfaceError):
        await watch.grown(pool, 0, 60, lambda: False)
    assert watch.waiting == 0


# Refusals


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"after": "-1"}, "?after"),
        ({"after": "latest"}, "?after"),
        ({"after": "9" * 19}, "?after"),
        ({"after": "7"}, "?after"),
        ({"after": "7-x"}, "?after"),
        ({"limit": "0"}, "?limit"),
        ({"limit": "501"}, "?limit"),
        ({"wait": "-1"}, "?wait"),
        ({"wait": "61"}, "?wait"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str], pointer: str, owner: Caller) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    answer = await owner.get(f"/webhooks/{webhook_id}/stream", **query)
    assert (answer.status, answer.pointers) == (400, [pointer])


async def test_a_stream_is_for_the_owner_and_admins(owner: Caller, api: Api, sign_up: SignUp) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    stranger, admin = Caller(api, await sign_up("supervisor")), Caller(api, await sign_up("admin"))
    path = f"/webhooks/{webhook_id}/stream"
    assert [(await caller.get(path)).status for caller in (stranger, admin, owner)] == [403, 200, 200]
    assert (await owner.get(f"/webhooks/{new_id()}/stream")).status == 404


async def test_a_webhook_whose_key_was_lost_cannot_be_read(
    owner: Caller, leader: Leader, connection: Connection
) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    await leader.write_many(1)
    await connection.execute("update webhooks set secret_sealed = '\\x00'")
    answer = await owner.get(f"/webhooks/{webhook_id}/stream")
    assert answer.status == 503
    assert "WEBHOOK_SECRET_KEYS" in answer.body["error"]
