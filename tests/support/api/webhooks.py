"""Requests about one webhook: create it, and read its events and statistics."""

from typing import Any

from tests.support.api.caller import Answer, Caller
from tests.support.relay.log import Event

URL = "https://your-app.com/webhooks/inventory"


async def make_webhook(caller: Caller, **fields: Any) -> dict[str, Any]:
    created = await caller.make("/webhooks", **{"url": URL, "events": ["item-created"], **fields})
    webhook: dict[str, Any] = created["webhook"]
    return webhook


async def events_of(owner: Caller, webhook_id: str, **query: str) -> Any:
    answer = await owner.get(f"/webhooks/{webhook_id}/events", **query)
    assert answer.status == 200, answer.body
    return answer.body


async def stats_of(owner: Caller, webhook_id: str) -> Any:
    answer = await owner.get(f"/webhooks/{webhook_id}/stats")
    assert answer.status == 200, answer.body
    return answer.body["stats"]


async def retry(owner: Caller, webhook_id: str, event: Event) -> Answer:
    return await owner.post(f"/webhooks/{webhook_id}/events/{event.id}/retry", None)
