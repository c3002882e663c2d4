"""ETag, If-Match and If-None-Match."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import Outbox
from tests.support.database import Connection, SomebodyWaits

NEW_USER = {"username": "anna", "email": "anna@example.org", "password": "long enough to be one"}
MADE = {
    "/items": {"name": "Pump", "quantity": 9},
    "/locations": {"name": "Yard"},
    "/categories": {"name": "Pumps"},
    "/webhooks": {"url": "https://example.org/a", "events": ["item-created"]},
    "/users": NEW_USER,
}
CHANGES: dict[str, Any] = {
    "/items": {"quantity": 8},
    "/locations": {"address": "Here"},
    "/categories": {"description": "All"},
    "/webhooks": {"url": "https://example.org/b"},
    "/users": {"full_name": "Anna"},
}
resources = pytest.mark.parametrize("path", list(MADE))


async def _make(admin: Caller, path: str) -> tuple[str, str]:
    """The path and the ETag of a new object."""
    answer = await admin.post(path, MADE[path])
    assert answer.status == 201
    shown = answer.body["webhook"] if path == "/webhooks" else answer.body
    return f"{path}/{shown['id']}", answer.headers["ETag"]


@resources
async def test_the_tag_is_the_same_wherever_the_object_is_shown_and_changes_with_it(admin: Caller, path: str) -> None:
    one, tag = await _make(admin, path)
    assert (await admin.get(one)).headers["ETag"] == tag
    unchanged = await admin.put(one, {})
    changed = await admin.put(one, CHANGES[path])
    if path != "/webhooks":  # any PUT of a webhook is a change: it wakes the relay
        assert unchanged.headers["ETag"] == tag
    assert changed.status == 200
    assert changed.headers["ETag"] not in {tag, unchanged.headers["ETag"]}
    assert (await admin.get(one)).headers["ETag"] == changed.headers["ETag"]


@resources
async def test_what_the_client_has_already_is_not_sent_again(admin: Caller, path: str) -> None:
    one, tag = await _make(admin, path)
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        answer = await admin.sending(If_None_Match=known).get(one)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, None, tag)
    assert (await admin.sending(If_None_Match='"x"').get(one)).status == 200


@resources
async def test_a_change_of_something_that_has_changed_since_is_refused(
    admin: Caller, outbox: Outbox, connection: Connection, path: str
) -> None:
    one, tag = await _make(admin, path)
    await admin.put(one, CHANGES[path])
    before = (len(await outbox()), await connection.fetchval("select count(*) from audit"))
    for stale in (tag, f"W/{(await admin.get(one)).headers['ETag']}"):
        for method, body in (("PUT", MADE[path]), ("DELETE", None)):
            answer = await admin.sending(If_Match=stale).ask(method, one, body)
            assert (answer.status, answer.body["type"]) == (412, "/problems/precondition-failed")
    assert (len(await outbox()), await connection.fetchval("select count(*) from audit")) == before

    now = (await admin.get(one)).headers["ETag"]
    answer = await admin.sending(If_Match=f'"x", {now}').put(one, MADE[path])
    assert answer.status == 200
    assert (await admin.sending(If_Match="*").put(one, CHANGES[path])).status == 200
    now = (await admin.get(one)).headers["ETag"]
    assert (await admin.sending(If_Match=now).delete(one)).status == 204


async def test_a_move_and_a_change_of_foremen_honour_it_too(admin: Caller, sign_up: SignUp) -> None:
    item, _ = await _make(admin, "/items")
    location, tag = await _make(admin, "/locations")
    foreman = str((await sign_up("foreman")).user_id)
    stale = admin.sending(If_Match='"x"')
    assert (await stale.put(f"{item}/location", {"location_id": location.rpartition("/")[2]})).status == 412
    assert (await stale.post(f"{location}/foremen", {"user_id": foreman})).status == 412
    added = await admin.sending(If_Match=tag).post(f"{location}/foremen", {"user_id": foreman})
    assert added.status == 200
    assert (await admin.sending(If_Match=tag).delete(f"{location}/foremen/{foreman}")).status == 412
    assert (await admin.sending(If_Match=added.headers["ETag"]).delete(f"{location}/foremen/{foreman}")).status == 204


async def test_of_what_is_shown_without_a_tag_no_tag_is_right(admin: Caller, sign_up: SignUp) -> None:
    worker = await sign_up("worker")
    webhook, _ = await _make(admin, "/webhooks")
    job = (await admin.post(f"{webhook}/replay", {"since": "2026-01-01T00:00:00Z"})).body["job"]
    others = f"/users/{worker.user_id}/sessions/{worker.session_id}"
    for one in (f"/auth/sessions/{admin.token.session_id}", others, f"{webhook}/replays/{job['id']}"):
        refused = await admin.sending(If_Match='"x"').delete(one)
        assert (refused.status, refused.body["type"]) == (412, "/problems/precondition-failed")
    assert (await admin.get(f"{webhook}/replays/{job['id']}")).body["job"]["status"] == "queued"
    assert (await admin.sending(If_Match="*").delete(others)).status == 204
    assert (await admin.sending(If_Match="*").delete(f"{webhook}/replays/{job['id']}")).status == 200


@pytest.mark.parametrize("header", ["x", '"x', "", '*, "x"'])
async def test_a_header_that_holds_no_tags_is_refused(admin: Caller, header: str) -> None:
    one, _ = await _make(admin, "/items")
    assert (await admin.sending(If_Match=header).put(one, {})).status == 400
    assert (await admin.sending(If_None_Match=header).get(one)).status == 400


async def test_the_condition_is_held_against_what_another_has_just_committed(
    admin: Caller, connection: Connection, somebody_waits: SomebodyWaits
) -> None:
    one, tag = await _make(admin, "/items")
    async with connection.transaction():
        await connection.execute("update items set quantity = 1, updated_at = clock_timestamp()")
        late = asyncio.create_task(admin.sending(If_Match=tag).put(one, {"quantity": 7}))
        await somebody_waits()
    assert (await late).status == 412
    assert (await admin.get(one)).body["quantity"] == 1


async def test_of_two_who_read_the_same_one_changes_it(admin: Caller) -> None:
    one, tag = await _make(admin, "/items")
    conditional = admin.sending(If_Match=tag)
    answers = await asyncio.gather(*(conditional.put(one, {"quantity": number}) for number in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412]


async def test_a_webhook_keeps_its_tag_while_deliveries_are_counted(admin: Caller, connection: Connection) -> None:
    one, tag = await _make(admin, "/webhooks")
    await connection.execute(
        "insert into delivery_counts (webhook_id, day, status, ended, current, last_at)"
        " select id, current_date, 'success', 3, 3, now() from webhooks"
    )
    shown = await admin.get(one)
    assert shown.body["webhook"]["statistics"]["totalEvents"] == 3
    assert shown.headers["ETag"] == tag
    # A header's value is never shown, but a new value changes the ETag.
    first = await admin.put(one, {"headers": {"X-Key": "a"}})
    second = await admin.put(one, {"headers": {"X-Key": "b"}})
    assert first.headers["ETag"] != second.headers["ETag"]


async def test_who_may_not_change_it_is_told_that_first(admin: Caller, api: Api, sign_up: SignUp) -> None:
    one, _ = await _make(admin, "/webhooks")
    stranger = replace(admin, token=await sign_up("worker")).sending(If_Match='"x"')
    assert (await stranger.put(one, {})).status == 403
    assert (await stranger.delete("/items/01890000-0000-7000-8000-000000000000")).status == 403


async def test_a_step_of_a_checkout_or_a_transfer_may_say_which_state_it_means(admin: Caller) -> None:
    here, there = [(await admin.make("/locations", name=name))["id"] for name in ("Here", "There")]
    item = await admin.make("/items", name="Pump", quantity=9, location_id=here)
    asked = {"item_id": item["id"], "from_location_id": here, "to_location_id": there, "quantity": 1}
    for made, step in (
        (await admin.post("/transfers", asked), "/transfers/{}/approve"),
        (await admin.post("/checkouts/checkout", {"item_id": item["id"], "quantity": 1}), "/checkouts/{}/checkin"),
    ):
        path, tag = step.format(made.body["id"]), made.headers["ETag"]
        assert (await admin.get(path.rpartition("/")[0])).headers["ETag"] == tag
        assert (await admin.sending(If_Match='"another"').post(path, {})).status == 412
        taken = await admin.sending(If_Match=tag).post(path, {})
        assert (taken.status, taken.headers["ETag"] != tag) == (200, True)
