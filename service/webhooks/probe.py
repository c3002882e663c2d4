"""The test of a webhook. A relay sends one request, and this process waits for the result."""

import asyncio
from http import HTTPStatus
from uuid import UUID

import asyncpg

from service.api.call import Principal
from service.mutation import Mutation, command
from service.platform.db import Pool
from service.platform.queries import load
from service.records import Origin
from service.webhooks.access import ENTITY, own
from service.webhooks.shapes import TestResult

_SQL = load("webhooks")
# How long a relay may need, besides the webhook's own timeout, to take up the test and to report.
GRACE_MS = 5000
_FIRST_LOOK_SECONDS = 0.01
_SLOWEST_LOOK_SECONDS = 0.2


async def test(pool: Pool, user: Principal, origin: Origin, webhook_id: UUID) -> TestResult:
    """Tests the webhook. Returns what the receiver answered, or why there is no answer. Raises
    NotFound, Forbidden."""
    test_id, wait_ms = await _begin(pool, origin, user, webhook_id)
    # Many requests may wait here, so none holds a connection between two reads.
    pause = _FIRST_LOOK_SECONDS
    while True:
        row = await _SQL.read_test.fetchrow(pool, id=test_id)
        assert row is not None
        if row["finished"]:
            return _answered(row)
        if row["expired"]:
            return _unanswered(row, wait_ms)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _SLOWEST_LOOK_SECONDS)


@command("test")
async def _begin(change: Mutation, user: Principal, webhook_id: UUID) -> tuple[UUID, int]:
    """Asks the relays for a test. Returns its id, and how many ms to wait for the result."""
    webhook = own(await _SQL.lock.fetchrow(change, id=webhook_id), user)
    wait_ms = webhook["timeout_ms"] + GRACE_MS
    test_id = await _SQL.insert_test.fetchval(change, webhook_id=webhook_id, wait_ms=wait_ms)
    await _SQL.wake_lane.execute(change, webhook_id=webhook_id)
    change.audit(ENTITY, webhook_id, None, None)
    return test_id, wait_ms


def _answered(row: asyncpg.Record) -> TestResult:
    status: int | None = row["status"]
    error: str | None = row["error"]
    if error is None and status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return {"success": True, "statusCode": status, "message": f"The receiver answered {status}"}
    message = f"The receiver answered {status}" if status is not None else "The receiver did not answer"
    return {"success": False, "statusCode": status, "message": message, "error": error or message}


def _unanswered(row: asyncpg.Record, wait_ms: int) -> TestResult:
    within = f"within {wait_ms / 1000:g} s"
    error = f"a relay took the test and did not report {within}" if row["claimed"] else f"no relay answered {within}"
    return {"success": False, "statusCode": None, "message": "The webhook could not be tested", "error": error}
