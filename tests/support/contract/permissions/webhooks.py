"""The permissions for the routes of webhooks.

webhooks, their events, retry, replay, explain, test | all | own | own | own | own
"""

from aiohttp import web

from tests.support.contract.permissions.table import ADMIN_ONLY, SIGNED_IN, Request, Stage, row
from tests.support.receivers.receiver import Arrival

_URL, _EVENTS = "http://127.0.0.1:1/in", ["user-updated"]


async def _new(_: Stage) -> Request:
    return Request(body={"url": _URL, "events": _EVENTS})


async def _webhook(stage: Stage) -> Request:
    webhook = await stage.owner.webhook(_URL, _EVENTS)
    return Request({"id": webhook["id"]}, {"timeout": 6000})


async def _to_rotate(stage: Stage) -> Request:
    return Request((await _webhook(stage)).path, {"overlapSeconds": 60})


async def delivered(stage: Stage) -> Request:
    """A webhook, and an event that was delivered to it."""
    ears = await stage.listen(stage.owner, ["item-created"])
    item = await stage.admin.item()
    event_id = (await ears.hear("item-created", itemId=item["id"])).event_id
    await ears.ended(event_id, "success")
    return Request({"id": ears.id, "eventId": event_id})


async def _blocked(stage: Stage) -> Request:
    """An event that failed, and that blocks later events of its item."""

    async def refuse(_: Arrival) -> web.StreamResponse:
        return web.Response(status=500)

    once = {"maxRetries": 0}
    ears = await stage.listen(stage.owner, ["item-created"], answer=refuse, retryPolicy=once, ordering="item")
    item = await stage.admin.item()
    event_id = (await ears.hear("item-created", itemId=item["id"])).event_id
    await ears.ended(event_id, "failed")
    return Request({"id": ears.id, "eventId": event_id})


OWN = {"own": SIGNED_IN, "other": ADMIN_ONLY}
TABLE = [
    row("POST /webhooks", _new, any=SIGNED_IN),
    row("GET /webhooks", any=SIGNED_IN),
    row("GET /webhooks/{id}", _webhook, **OWN),
    row("PUT /webhooks/{id}", _webhook, **OWN),
    row("POST /webhooks/{id}/secret/rotate", _to_rotate, **OWN),
    row("DELETE /webhooks/{id}", _webhook, **OWN),
    row("GET /webhooks/{id}/events", _webhook, **OWN),
    row("POST /webhooks/{id}/events/{eventId}/retry", delivered, **OWN),
    row("POST /webhooks/{id}/events/{eventId}/skip", _blocked, **OWN),
    row("GET /webhooks/{id}/stats", _webhook, **OWN),
    row("POST /webhooks/{id}/test", _webhook, **OWN),
]
