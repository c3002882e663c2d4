"""Units that are handed out to another user: permissions, holder, requester, and the return
date."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from tests.support.api.caller import Caller
from tests.support.api.checkout_yard import Yard
from tests.support.api.outbox import take_events
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection


def _id(caller: Caller) -> str:
    return str(caller.token.user_id)


@pytest.mark.parametrize(("role", "status"), [("admin", "active"), ("supervisor", "pending_authorization")])
async def test_an_admin_and_a_supervisor_hand_out_to_somebody_else(
    yard: Yard, connection: Connection, role: str, status: str
) -> None:
    by = yard.people[role]
    checkout = await yard.check_out(by, 2, user_id=_id(yard.worker))
    assert (checkout["user_id"], checkout["requested_by"]) == (_id(yard.worker), _id(by))
    assert checkout["status"] == status
    assert (await yard.item())["quantity"] == (8 if role == "admin" else 10)
    kind, data = (await take_events(connection))[0]
    event_data = orjson.loads(data)
    assert (kind, event_data["userId"], event_data["requestedBy"]) == ("item-checkout", _id(yard.worker), _id(by))
    assert list(event_data)[-2:] == ["projectId", "requestedBy"]
    after = orjson.loads(await connection.fetchval("select after from audit where entity = 'checkout'"))
    assert (after["user_id"], after["requested_by"]) == (_id(yard.worker), _id(by))
    # The checkout is the holder's own: they read it, find it by their id, and bring it back.
    assert (await yard.worker.get(f"/checkouts/{checkout['id']}")).body == checkout
    assert (await yard.admin.get("/checkouts", user_id=_id(yard.worker))).body == [checkout]
    if status == "active":
        assert (await yard.act(yard.worker, checkout, "checkin")).status == 200


async def test_every_event_of_a_checkout_says_who_asked(yard: Yard, connection: Connection) -> None:
    supervisor = yard.people["supervisor"]
    for action in ("authorize", "reject", "cancel"):
        checkout = await yard.check_out(supervisor, 1, user_id=_id(yard.worker))
        await take_events(connection)
        assert (await yard.act(yard.admin, checkout, action)).status == 200
        event_data = orjson.loads((await take_events(connection))[0][1])
        assert (event_data["userId"], event_data["requestedBy"]) == (_id(yard.worker), _id(supervisor))


async def test_who_asked_and_who_would_hold_may_cancel(yard: Yard) -> None:
    supervisor = yard.people["supervisor"]
    for caller in (supervisor, yard.worker):
        checkout = await yard.check_out(supervisor, 1, user_id=_id(yard.worker))
        assert (await yard.act(caller, checkout, "cancel")).status == 200


@pytest.mark.parametrize("role", ["admin", "supervisor", "foreman", "worker"])
async def test_ones_own_id_and_null_change_nothing_for_anybody(yard: Yard, role: str) -> None:
    caller = yard.people[role]
    await yard.assign_foreman(yard.depot)
    for more in ({}, {"user_id": None}, {"user_id": _id(caller)}, {"user_id": _id(caller).upper()}):
        checkout = await yard.check_out(caller, 1, **more)
        assert checkout["user_id"] == checkout["requested_by"] == _id(caller)


@pytest.mark.parametrize("role", ["foreman", "worker", "personnel"])
async def test_others_hand_out_to_nobody(yard: Yard, connection: Connection, role: str) -> None:
    await yard.assign_foreman(yard.depot)
    for holder in (_id(yard.admin), str(uuid4())):
        assert (await yard.ask_out(yard.people[role], user_id=holder)).status == 403
    assert (await yard.admin.get("/checkouts")).body == []
    assert await take_events(connection) == []


async def test_a_holder_who_does_not_exist_is_refused(yard: Yard, connection: Connection) -> None:
    for holder in (str(uuid4()), "somebody"):
        answer = await yard.ask_out(yard.admin, user_id=holder)
        assert (answer.status, answer.pointers) == (400, ["/user_id"])
    assert (await yard.item())["quantity"] == 10
    assert await take_events(connection) == []


async def test_who_asked_stays_while_the_checkout_is_open(yard: Yard, connection: Connection) -> None:
    supervisor = yard.people["supervisor"]
    checkout = await yard.check_out(supervisor, 1, user_id=_id(yard.worker))
    assert (await yard.admin.delete(f"/users/{_id(supervisor)}")).status == 409
    with pytest.raises((asyncpg.ForeignKeyViolationError, asyncpg.RestrictViolationError)):
        await connection.execute("delete from users where id = $1", supervisor.token.user_id)
    await yard.act(yard.admin, checkout, "reject")
    assert (await yard.admin.delete(f"/users/{_id(supervisor)}")).status == 204
    assert (await yard.admin.get(f"/checkouts/{checkout['id']}")).body["requested_by"] == _id(supervisor)


async def test_a_checkout_from_before_was_asked_for_by_its_holder(yard: Yard, connection: Connection) -> None:
    checkout_id = await connection.fetchval(
        "insert into checkouts (item_id, user_id, quantity, status) values ($1, $2, 1, 'pending_authorization') returning id",
        UUID(yard.pump["id"]),
        yard.worker.token.user_id,
    )
    shown = (await yard.worker.get(f"/checkouts/{checkout_id}")).body
    assert shown["requested_by"] == shown["user_id"] == _id(yard.worker)


async def test_one_reads_what_one_asked_for_also_when_ones_role_has_shrunk(yard: Yard) -> None:
    supervisor = yard.people["supervisor"]
    mine = await yard.check_out(supervisor, 1, user_id=_id(yard.worker))
    await yard.check_out(yard.admin, 1)
    await yard.admin.put(f"/users/{_id(supervisor)}", {"role": "worker"})
    listed = await supervisor.get("/checkouts")
    assert [one["id"] for one in listed.body] == [mine["id"]]
    assert listed.headers["X-Total-Count"] == "1"
    assert (await supervisor.get(f"/checkouts/{mine['id']}")).status == 200


async def test_a_foreman_checks_out_only_what_a_foreman_may_read(yard: Yard, connection: Connection) -> None:
    foreman = yard.people["foreman"]
    assert (await yard.ask_out(foreman)).status == (await foreman.get(f"/items/{yard.pump['id']}")).status == 403
    # The foreman does not learn whether so many exist.
    assert (await yard.ask_out(foreman, 1000)).status == 403
    assert (await yard.admin.get("/checkouts")).body == []
    await yard.assign_foreman(yard.depot)
    await yard.check_out(foreman)
    nowhere = await yard.admin.make("/items", name="Hammer", quantity=1)
    assert (await foreman.post("/checkouts/checkout", {"item_id": nowhere["id"], "quantity": 1})).status == 201


async def test_a_day_that_is_over_everywhere_is_no_day_to_return(yard: Yard, connection: Connection) -> None:
    today = datetime.now(UTC).date()
    answer = await yard.ask_out(yard.admin, expected_return_date=str(today - timedelta(days=2)))
    assert (answer.status, answer.pointers) == (422, ["/expected_return_date"])
    # Yesterday is allowed, but midnight may pass before the request.
    for day in (today - timedelta(days=1), today, today + timedelta(days=3650)):
        if day >= datetime.now(UTC).date() - timedelta(days=1):
            assert (await yard.check_out(yard.admin, expected_return_date=str(day)))["expected_return_date"] == str(day)


async def test_the_status_stays_active_while_overdue_stands_beside_it(yard: Yard) -> None:
    yesterday, tomorrow = (str(datetime.now(UTC).date() + timedelta(days=days)) for days in (-1, 1))
    late = await yard.check_out(yard.admin, expected_return_date=yesterday)
    others = [await yard.check_out(yard.admin, expected_return_date=tomorrow), await yard.check_out(yard.admin)]
    others.append(await yard.check_out(yard.worker, expected_return_date=yesterday))
    assert (late["status"], late["overdue"]) == ("active", True)
    assert [one["overdue"] for one in others] == [False, False, False]
    for query, expected in (
        ({"overdue": "true"}, [late]),
        ({"status": "overdue"}, [late]),
        ({"status": "overdue", "overdue": "true"}, [late]),
        ({"status": "active", "overdue": "true"}, [late]),
        ({"overdue": "false"}, others),
        ({"status": "active", "overdue": "false"}, others[:2]),
        ({"overdue": ""}, [late, *others]),
    ):
        found = await yard.admin.get("/checkouts", **query)
        assert sorted(one["id"] for one in found.body) == sorted(one["id"] for one in expected), query
        assert found.headers["X-Total-Count"] == str(len(expected))
    refused: list[dict[str, Any]] = [{"overdue": "yes"}, {"status": "overdue", "overdue": "false"}]
    for query in refused:
        assert (await yard.admin.get("/checkouts", **query)).status == 400


async def test_a_webhook_of_the_holder_and_one_of_who_asked_get_the_event(yard: Yard, connection: Connection) -> None:
    """The event concerns both users, and no other worker."""
    await make_webhook(yard.worker, events=["item-checkout"])
    await yard.check_out(yard.people["supervisor"], 1, user_id=_id(yard.worker))
    concerned = await connection.fetchval("select user_ids from outbox where type = 'item-checkout'")
    assert set(concerned) == {yard.worker.token.user_id, yard.people["supervisor"].token.user_id}
