"""Order by item over HTTP: the request for it, and how a blocked item goes on."""

import asyncio
from typing import Any

import pytest

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import events_of, make_webhook
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.ordered_webhooks import EVENT, Watch, blocked, change, check_order, items
from tests.support.relay.processes import Relays
from tests.support.relay.replays import ask_replay
from tests.support.waiting import until

ONCE = {"maxRetries": 0, "retryDelay": 100}


class Failing:
    """Fails the events whose number is in `numbers`, until it is removed from there."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = set(numbers)

    async def __call__(self, arrival: Arrival) -> int:
        return 500 if arrival.envelope["data"]["n"] in self.numbers else 200


@pytest.fixture
def failing() -> Failing:
    return Failing(1)


@pytest.fixture
def watch(receiver: Receiver, failing: Failing) -> Watch:
    receiver.answer = watch = Watch(failing)
    return watch


@pytest.fixture
async def webhook(owner: Caller, receiver: Receiver, watch: Watch) -> dict[str, Any]:
    return await make_webhook(owner, url=receiver.url, events=[EVENT], retryPolicy=ONCE, ordering="item")


async def test_an_order_is_kept_merged_and_cleared(owner: Caller) -> None:
    plain = await make_webhook(owner)
    assert (plain["ordering"], plain["onFailure"]) == (None, None)
    webhook = await make_webhook(owner, ordering="item", onFailure="skip")
    path = f"/webhooks/{webhook['id']}"
    assert (webhook["ordering"], webhook["onFailure"]) == ("item", "skip")
    changes: list[tuple[dict[str, Any], tuple[str | None, str | None]]] = [
        ({}, ("item", "skip")),
        ({"ordering": "item"}, ("item", "skip")),
        ({"onFailure": "block"}, ("item", "block")),
        ({"onFailure": "skip"}, ("item", "skip")),
        ({"onFailure": None}, ("item", "block")),
        ({"ordering": None}, (None, None)),
        ({"ordering": None, "onFailure": None}, (None, None)),
        ({"ordering": "item"}, ("item", "block")),
    ]
    for sent, shown in changes:
        answer = await owner.put(path, sent)
        assert (answer.status, answer.body["webhook"]["ordering"], answer.body["webhook"]["onFailure"]) == (200, *shown)
        read = (await owner.get(path)).body["webhook"]
        assert (read["ordering"], read["onFailure"], read["blockedItems"]) == (*shown, 0)
        assert (await owner.put(path, {name: read[name] for name in ("ordering", "onFailure")})).status == 200


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        ({"ordering": "webhook"}, "/ordering"),
        ({"ordering": "item", "onFailure": "stop"}, "/onFailure"),
        ({"onFailure": "skip"}, "/onFailure"),
        ({"ordering": None, "onFailure": "block"}, "/onFailure"),
    ],
)
async def test_an_order_that_means_nothing_is_refused(owner: Caller, sent: dict[str, Any], pointer: str) -> None:
    created = await owner.post("/webhooks", {"url": "https://your-app.com/", "events": [EVENT], **sent})
    assert (created.status, created.pointers) == (400, [pointer])
    webhook = await make_webhook(owner)
    changed = await owner.put(f"/webhooks/{webhook['id']}", sent)
    assert (changed.status, changed.pointers) == (400, [pointer])


async def _why(owner: Caller, webhook: dict[str, Any], event_id: object) -> Any:
    return (await owner.get(f"/events/{event_id}/explain", webhook=webhook["id"])).body


async def test_changes_of_an_item_arrive_in_the_order_in_which_they_were_made(
    api: Api, sign_up: SignUp, relays: Relays, receiver: Receiver, database_url: str
) -> None:
    admin = Caller(api, await sign_up("admin"))
    await make_webhook(admin, url=receiver.url, events=["item-created", "item-updated"], ordering="item")
    await relays.start(2)
    item = await admin.make("/items", name="Drill", quantity=100)
    for quantity in range(1, 9):
        assert (await admin.put(f"/items/{item['id']}", {"quantity": quantity})).status == 200
    await relays.idle()
    seen = [(a.envelope["sequence"], a.envelope["data"]["quantity"]) for a in receiver.arrivals]
    assert seen == [(number + 1, quantity) for number, quantity in enumerate([100, *range(1, 9)])]
    await check_order(database_url)


async def test_a_blocked_item_goes_on_when_the_failed_event_is_retried_with_success(
    owner: Caller,
    webhook: dict[str, Any],
    relays: Relays,
    receiver: Receiver,
    watch: Watch,
    failing: Failing,
    connection: Connection,
    database_url: str,
) -> None:
    await relays.start()
    (item,) = items(1)
    first, bad, later, last = [await change(connection, item, number) for number in range(4)]
    await blocked(connection)

    path = f"/webhooks/{webhook['id']}"
    assert (await owner.get(path)).body["webhook"]["blockedItems"] == 1
    waiting = await events_of(owner, webhook["id"], status="pending")
    assert [(event["id"], event["sequence"], event["nextRetry"]) for event in waiting["events"]] == [
        (str(last), 4, None),
        (str(later), 3, None),
    ]
    explained = await _why(owner, webhook, later)
    assert (explained["reason"], explained["basis"], str(bad) in explained["detail"]) == ("blocked", "log", True)
    explained = await _why(owner, webhook, bad)
    assert explained["reason"] == "failed"
    assert "wait until it is retried or skipped" in explained["detail"]
    assert "wait until" not in (await _why(owner, webhook, first))["detail"]

    # The retry fails again, and blocks again.
    retried = await owner.post(f"{path}/events/{bad}/retry", None)
    assert retried.status == 200, retried.body
    await receiver.wait_for(lambda: len(receiver.arrivals) == 3)
    await blocked(connection)
    failing.numbers.clear()
    assert (await owner.post(f"{path}/events/{bad}/retry", None)).status == 200
    await relays.idle()
    arrived = [(arrival.envelope["sequence"], arrival.envelope["attempt"]) for arrival in receiver.arrivals]
    assert arrived == [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1)]
    shown = (await owner.get(f"{path}/events/{bad}")).body["event"]
    assert '"attempt":3,"sequence":2}' in shown["attempts"][-1]["request"]["body"]
    assert (await owner.get(path)).body["webhook"]["blockedItems"] == 0
    await check_order(database_url)


async def test_a_skip_lets_the_later_events_follow_and_is_on_record(
    owner: Caller,
    api: Api,
    sign_up: SignUp,
    webhook: dict[str, Any],
    relays: Relays,
    receiver: Receiver,
    watch: Watch,
    connection: Connection,
    database_url: str,
) -> None:
    await relays.start(RELAY_POLL_INTERVAL="3600000")
    (item,) = items(1)
    first, bad, _ = [await change(connection, item, number) for number in range(3)]
    await blocked(connection)
    path = f"/webhooks/{webhook['id']}"
    assert (await owner.post(f"{path}/events/{first}/skip", None)).status == 409
    assert (await owner.post(f"{path}/events/{webhook['id']}/skip", None)).status == 404
    stranger = Caller(api, await sign_up("worker"))
    assert (await stranger.post(f"{path}/events/{bad}/skip", None)).status == 403

    skipped = await owner.post(f"{path}/events/{bad}/skip", None)
    assert skipped.status == 200, skipped.body
    assert skipped.body["event"] == {
        "id": str(bad),
        "eventType": EVENT,
        "deliveryStatus": "failed",
        "deliveryAttempts": 1,
        "message": "The event has been skipped; the later events of its item follow",
    }
    await relays.idle()
    assert watch.taken["/", str(item)] == [1, 3]
    again = await owner.post(f"{path}/events/{bad}/skip", None)
    assert (again.status, "blocks no item" in again.body["detail"]) == (409, True)
    shown = (await owner.get(f"{path}/events/{bad}")).body["event"]
    assert shown["deliveryStatus"] == "failed"
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["failed", "skipped"]
    assert await connection.fetchval("select after->>'eventId' from audit where action = 'skip'") == str(bad)
    await check_order(database_url)


@pytest.mark.parametrize(
    "change_of_mind",
    [{"ordering": None}, {"onFailure": "skip"}, {"active": True, "pending": "discard"}],
    ids=["no order", "skip", "discard"],
)
async def test_who_no_longer_wants_to_wait_does_not(
    change_of_mind: dict[str, Any],
    owner: Caller,
    webhook: dict[str, Any],
    relays: Relays,
    receiver: Receiver,
    watch: Watch,
    connection: Connection,
    database_url: str,
) -> None:
    await relays.start(RELAY_POLL_INTERVAL="3600000")
    (item,) = items(1)
    for number in range(3):
        await change(connection, item, number)
    await blocked(connection)

    async def all_queued() -> object:
        return await connection.fetchval("select count(*) = 1 from deliveries")

    await until(all_queued, "the third waits")
    assert (await owner.put(f"/webhooks/{webhook['id']}", change_of_mind)).status == 200
    await relays.idle()
    await change(connection, item, 3)
    await relays.idle()
    assert watch.numbers["/", str(item)] == ([0, 3] if "pending" in change_of_mind else [0, 2, 3])
    assert await connection.fetchval("select count(*) from attempts where outcome = 'skipped'") == 1
    await check_order(database_url)


async def test_a_retry_of_an_earlier_event_waits_for_the_one_under_way(
    owner: Caller,
    webhook: dict[str, Any],
    relays: Relays,
    receiver: Receiver,
    watch: Watch,
    failing: Failing,
    connection: Connection,
    database_url: str,
) -> None:
    failing.numbers.clear()
    await relays.start()
    (item,) = items(1)
    first = await change(connection, item, 0)
    await relays.idle()
    opened = asyncio.Event()

    async def hang(_: Arrival) -> int:
        await opened.wait()
        return 200

    watch.verdict = hang
    second = await change(connection, item, 1)
    await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
    await change(connection, item, 2)
    assert (await owner.post(f"/webhooks/{webhook['id']}/events/{first}/retry", None)).status == 200
    explained = await _why(owner, webhook, first)
    assert (explained["reason"], str(second) in explained["detail"]) == ("behind_another", True)
    opened.set()
    await relays.idle()
    assert [arrival.envelope["sequence"] for arrival in receiver.arrivals] == [1, 2, 1, 3]
    assert watch.overlaps == []
    assert await connection.fetchval("select count(*) from item_orders where head is not null") == 0


async def test_a_replay_keeps_numbers_gives_new_ones_and_resolves_what_blocked(
    owner: Caller,
    webhook: dict[str, Any],
    relays: Relays,
    receiver: Receiver,
    watch: Watch,
    failing: Failing,
    connection: Connection,
    database_url: str,
) -> None:
    blocked_item, other = items(2)
    await relays.start()
    # The webhook does not get these events, because it is inactive.
    path = f"/webhooks/{webhook['id']}"
    await owner.put(path, {"active": False})
    for number in (10, 11, 12):
        await change(connection, other, number)
    await relays.idle()
    await owner.put(path, {"active": True})
    for number in range(3):
        await change(connection, blocked_item, number)
    await blocked(connection)
    failing.numbers.clear()

    await ask_replay(owner, webhook["id"], status="failed")
    await relays.idle()
    assert watch.taken["/", str(blocked_item)] == [1, 2, 3]
    await ask_replay(owner, webhook["id"], status="missing")
    await receiver.wait_for(lambda: len(watch.taken["/", str(other)]) == 3)
    assert watch.numbers["/", str(other)] == [10, 11, 12]
    assert watch.taken["/", str(other)] == [1, 2, 3]
    await relays.idle()
    receiver.arrivals.clear()
    await ask_replay(owner, webhook["id"], status="success")
    await receiver.wait_for(lambda: len(receiver.arrivals) == 6)
    await relays.idle()
    for item in (blocked_item, other):
        again = [a.envelope["sequence"] for a in receiver.arrivals if a.envelope["data"]["itemId"] == str(item)]
        assert again == [1, 2, 3]
    await check_order(database_url)
    assert watch.overlaps == []
    assert await connection.fetchval("select count(*) from item_orders where head is not null") == 0
