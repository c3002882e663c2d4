"""POST /webhooks/:id/test. The test plays the relay."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import ClientTimeout

from service.platform.ids import new_id
from tests.support.api.caller import Caller
from tests.support.database import Connection


@pytest.fixture
async def webhook_id(owner: Caller) -> str:
    created = await owner.make("/webhooks", url="https://example.org/hook", events=["item-created"], timeout=7000)
    webhook_id: str = created["webhook"]["id"]
    return webhook_id


async def _asked(connection: Connection) -> asyncpg.Record:
    """The row that the API waits for, once it has been written."""
    async with asyncio.timeout(30):
        while (row := await connection.fetchrow("select * from webhook_tests where finished_at is null")) is None:
            await asyncio.sleep(0.01)
    return row


async def _answer(connection: Connection, status: int | None, error: str | None) -> None:
    row = await _asked(connection)
    await connection.execute(
        "update webhook_tests set claimed_by = $2, finished_at = now(), status = $3, error = $4 where id = $1",
        row["id"],
        new_id(),
        status,
        error,
    )


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (200, None, {"success": True, "statusCode": 200}),
        (204, None, {"success": True, "statusCode": 204}),
        (299, None, {"success": True, "statusCode": 299}),
        (
            302,
            "a redirect is not followed",
            {"success": False, "statusCode": 302, "error": "a redirect is not followed"},
        ),
        (500, "it answered 500", {"success": False, "statusCode": 500, "error": "it answered 500"}),
        (404, None, {"success": False, "statusCode": 404, "error": "The receiver answered 404"}),
        (None, "connection refused", {"success": False, "statusCode": None, "error": "connection refused"}),
        (200, "no complete answer", {"success": False, "statusCode": 200, "error": "no complete answer"}),
    ],
)
async def test_a_test_says_what_the_receiver_answered(
    status: int | None,
    error: str | None,
    expected: dict[str, Any],
    owner: Caller,
    webhook_id: str,
    connection: Connection,
) -> None:
    asking = asyncio.create_task(owner.post(f"/webhooks/{webhook_id}/test", None))
    await _answer(connection, status, error)
    answer = await asking
    assert answer.status == 200
    assert isinstance(answer.body.pop("message"), str)
    assert answer.body == expected


async def test_a_test_is_asked_of_the_relay_with_its_lane_and_a_deadline(
    owner: Caller, webhook_id: str, connection: Connection
) -> None:
    asking = asyncio.create_task(owner.post(f"/webhooks/{webhook_id}/test", {"ignored": True}))
    row = await _asked(connection)
    assert row["webhook_id"] == UUID(webhook_id)
    assert row["claimed_by"] is None
    waits = (row["expires_at"] - row["requested_at"]).total_seconds()
    assert waits == pytest.approx(7 + 5, abs=1)
    assert await connection.fetchval("select webhook_id from lane_wakes") == UUID(webhook_id)
    assert await connection.fetchval("select count(*) from deliveries") == 0
    assert await connection.fetchval("select count(*) from outbox") == 0
    await _answer(connection, 200, None)
    await asking
    assert await connection.fetchval("select array_agg(action order by id) from audit where entity = 'webhook'") == [
        "create",
        "test",
    ]


@pytest.mark.parametrize(
    ("claimed", "why"), [(False, "no relay answered within 12 s"), (True, "did not report within 12 s")]
)
async def test_without_a_relays_answer_a_test_says_so(
    claimed: bool, why: str, owner: Caller, webhook_id: str, connection: Connection
) -> None:
    asking = asyncio.create_task(owner.post(f"/webhooks/{webhook_id}/test", None))
    row = await _asked(connection)
    await connection.execute(
        "update webhook_tests set claimed_by = $2, expires_at = clock_timestamp() where id = $1",
        row["id"],
        new_id() if claimed else None,
    )
    answer = await asking
    assert answer.status == 200
    assert (answer.body["success"], answer.body["statusCode"]) == (False, None)
    assert why in answer.body["error"]


async def test_an_inactive_webhook_can_be_tested(owner: Caller, webhook_id: str, connection: Connection) -> None:
    await owner.put(f"/webhooks/{webhook_id}", {"active": False})
    asking = asyncio.create_task(owner.post(f"/webhooks/{webhook_id}/test", None))
    await _answer(connection, 200, None)
    assert (await asking).body["success"] is True


async def test_a_test_is_outside_history_and_statistics(owner: Caller, webhook_id: str, connection: Connection) -> None:
    asking = asyncio.create_task(owner.post(f"/webhooks/{webhook_id}/test", None))
    await _answer(connection, 500, "the receiver answered 500")
    await asking
    stats = (await owner.get(f"/webhooks/{webhook_id}/stats")).body["stats"]
    assert (stats["totalEvents"], stats["pendingCount"]) == (0, 0)
    assert (await owner.get(f"/webhooks/{webhook_id}/events")).body["total"] == 0


async def test_more_tests_can_wait_than_there_are_connections(
    owner: Caller, webhook_id: str, connection: Connection
) -> None:
    asking = [asyncio.create_task(owner.post(f"/webhooks/{webhook_id}/test", None)) for _ in range(25)]
    async with asyncio.timeout(60):
        while await connection.fetchval("select count(*) from webhook_tests") < len(asking):
            await asyncio.sleep(0.01)
    assert (await owner.get(f"/webhooks/{webhook_id}")).status == 200
    await connection.execute("update webhook_tests set finished_at = now(), status = 200")
    assert all(answer.body["success"] for answer in await asyncio.gather(*asking))


async def test_a_client_that_does_not_wait_harms_nobody(
    owner: Caller, webhook_id: str, connection: Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    path = f"/api/v1/webhooks/{webhook_id}/test"
    asking = asyncio.create_task(owner.api.post(path, headers=owner.token.headers, timeout=ClientTimeout(total=None)))
    await _asked(connection)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await _answer(connection, 200, None)
    again = asyncio.create_task(owner.post(f"/webhooks/{webhook_id}/test", None))
    await _answer(connection, 204, None)
    assert (await again).body["statusCode"] == 204
    assert "a request failed" not in "".join(capfd.readouterr())
