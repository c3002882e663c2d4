"""The curl commands of the webhook documentation, unchanged, against an API with two relays."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from tests.support.api_process import Api
from tests.support.formats import TIME, UUID7
from tests.support.programs import SkipUnless
from tests.support.receivers.receiver import Arrival, receiving
from tests.support.relay.processes import Relays
from tests.support.waiting import until

CREATE_LOW_STOCK = """
curl -X POST http://localhost:3002/api/v1/webhooks \\
  -H "Authorization: Bearer <token>" \\
  -H "Content-Type: application/json" \\
  -d '{
    "url": "https://your-app.com/webhooks/inventory",
    "events": ["low-stock-alert"],
    "filters": {
      "minStockThreshold": 5
    }
  }'
"""
CREATE_TRANSFERS = """
curl -X POST http://localhost:3002/api/v1/webhooks \\
  -H "Authorization: Bearer <token>" \\
  -H "Content-Type: application/json" \\
  -d '{
    "url": "https://your-app.com/webhooks/transfers",
    "events": ["transfer-approval-needed", "transfer-approved"]
  }'
"""
TEST = """
curl -X POST http://localhost:3002/api/v1/webhooks/:id/test \\
  -H "Authorization: Bearer <token>"
"""
STATS = """
curl http://localhost:3002/api/v1/webhooks/:id/stats \\
  -H "Authorization: Bearer <token>"
"""
FAILED_EVENTS = """
curl "http://localhost:3002/api/v1/webhooks/:id/events?status=failed" \\
  -H "Authorization: Bearer <token>"
"""
RETRY = """
curl -X POST http://localhost:3002/api/v1/webhooks/:id/events/:eventId/retry \\
  -H "Authorization: Bearer <token>"
"""


@dataclass(frozen=True)
class Shell:
    """Runs a documented command with the placeholders filled in."""

    api: Api

    async def run(self, command: str, webhook_id: str = "", event_id: str = "") -> tuple[int, Any]:
        """The status and the parsed body."""
        filled = command.replace("http://localhost:3002", self.api.address).replace("<token>", self.api.token)
        filled = filled.replace(":eventId", event_id).replace("/:id", f"/{webhook_id}")
        script = f"curl() {{ command curl -sS -w '\\n%{{http_code}}' \"$@\"; }}\n{filled}"
        process = await asyncio.create_subprocess_exec("bash", "-ec", script, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0
        body, _, status = output.decode().rpartition("\n")
        return int(status), json.loads(body)


@pytest.fixture
def shell(api: Api, skip_unless: SkipUnless) -> Shell:
    skip_unless("curl")
    return Shell(api)


async def test_the_documented_commands_create_webhooks(shell: Shell) -> None:
    status, low_stock = await shell.run(CREATE_LOW_STOCK)
    assert status == 201
    webhook = low_stock["webhook"]
    assert low_stock["message"]
    assert UUID7.fullmatch(webhook["id"])
    assert webhook["url"] == "https://your-app.com/webhooks/inventory"
    assert webhook["events"] == ["low-stock-alert"]
    assert webhook["active"] is True
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", webhook["secret"])
    assert TIME.fullmatch(webhook["createdAt"])
    assert webhook["filters"]["minStockThreshold"] == 5
    assert webhook["retryPolicy"] == {"maxRetries": 3, "retryDelay": 5000}
    assert webhook["timeout"] == 30_000

    status, transfers = await shell.run(CREATE_TRANSFERS)
    assert status == 201
    assert transfers["webhook"]["events"] == ["transfer-approval-needed", "transfer-approved"]
    assert transfers["webhook"]["secret"] != webhook["secret"]

    listed = await shell.api.call("GET", "/webhooks")
    assert {row["id"] for row in listed["webhooks"]} == {webhook["id"], transfers["webhook"]["id"]}
    assert webhook["secret"] not in json.dumps(listed)


async def test_the_documented_commands_show_and_retry_a_failed_event(shell: Shell, relays: Relays) -> None:
    answers = iter([500])

    async def fail_once(_: Arrival) -> web.StreamResponse:
        return web.Response(status=next(answers, 200), text="the receiver's own words")

    async with receiving(fail_once) as receiver:
        _, created = await shell.run(CREATE_LOW_STOCK)
        webhook_id = created["webhook"]["id"]
        change = {"url": f"{receiver.url}/inventory", "retryPolicy": {"maxRetries": 0}}
        await shell.api.call("PUT", f"/webhooks/{webhook_id}", change)

        status, stats = await shell.run(STATS, webhook_id)
        assert status == 200
        assert stats == {
            "stats": stats_of(total=0, failed=0, rate="0.00") | {"lastDelivery": None, "lastFailure": None}
        }

        # The first quantity is not below the webhook's threshold, and the second is.
        item = await shell.api.call("POST", "/items", {"name": "Cement", "quantity": 6, "min_quantity": 10})
        await shell.api.call("PUT", f"/items/{item['id']}", {"quantity": 2})
        await receiver.wait_for(lambda: bool(receiver.arrivals))
        await until(lambda: ended(shell, webhook_id, 1), "the failure is recorded")

        status, stats = await shell.run(STATS, webhook_id)
        assert status == 200
        shown = stats["stats"]
        assert shown == stats_of(total=1, failed=1, rate="0.00") | {
            name: shown[name] for name in ("lastDelivery", "lastFailure")
        }
        assert TIME.fullmatch(shown["lastFailure"])

        status, failed = await shell.run(FAILED_EVENTS, webhook_id)
        assert status == 200
        assert (failed["total"], failed["skip"], failed["limit"]) == (1, 0, 50)
        (event,) = failed["events"]
        assert event["id"] == receiver.arrivals[0].event_id
        assert event["eventType"] == "low-stock-alert"
        assert event["data"]["currentStock"] == 2
        assert event["data"] == receiver.arrivals[0].envelope["data"]
        assert event["deliveryStatus"] == "failed"
        assert event["deliveryAttempts"] == 1
        assert event["httpResponse"] == {"statusCode": 500, "body": "the receiver's own words"}
        assert event["nextRetry"] is None

        status, retried = await shell.run(RETRY, webhook_id, event["id"])
        assert status == 200
        assert retried["event"]["id"] == event["id"]
        assert retried["event"]["deliveryStatus"] == "pending"
        assert retried["event"]["message"]
        await receiver.wait_for(lambda: len(receiver.arrivals) == 2)
        assert receiver.arrivals[1].event_id == event["id"]
        assert receiver.arrivals[1].envelope["attempt"] == 2
        await until(lambda: ended(shell, webhook_id, 2), "the success is recorded")

        _, failed = await shell.run(FAILED_EVENTS, webhook_id)
        assert failed["events"] == []
        _, stats = await shell.run(STATS, webhook_id)
        assert (stats["stats"]["successCount"], stats["stats"]["failedCount"], stats["stats"]["pendingCount"]) == (
            1,
            0,
            0,
        )


async def test_the_documented_command_tests_a_webhook(shell: Shell, relays: Relays) -> None:
    async with receiving() as receiver:
        _, created = await shell.run(CREATE_TRANSFERS)
        webhook_id = created["webhook"]["id"]
        await shell.api.call("PUT", f"/webhooks/{webhook_id}", {"url": receiver.url})
        status, result = await shell.run(TEST, webhook_id)
        assert status == 200
        assert result["success"] is True
        assert result["statusCode"] == 200
        assert result["message"]
        (arrival,) = receiver.arrivals
        assert arrival.envelope["eventType"] == "test"
        _, stats = await shell.run(STATS, webhook_id)
        assert stats["stats"]["totalEvents"] == 0


def stats_of(*, total: int, failed: int, rate: str) -> dict[str, Any]:
    return {
        "totalEvents": total,
        "successfulDeliveries": total - failed,
        "failedDeliveries": failed,
        "successCount": total - failed,
        "failedCount": failed,
        "pendingCount": 0,
        "successRate": rate,
    }


async def ended(shell: Shell, webhook_id: str, deliveries: int) -> bool:
    stats = (await shell.api.call("GET", f"/webhooks/{webhook_id}/stats"))["stats"]
    return bool(stats["totalEvents"] == deliveries)
