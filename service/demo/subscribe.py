"""Creates and deletes the demo's webhooks through the API."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from service.demo.client import Api, Json
from service.events.catalogue import CATALOGUE, LowStockAlert

_PATH = "/jossiedb-demo/"
_RETRY_POLICY = {"maxRetries": 6, "retryDelay": 500}


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook of the demo. The output shows its `name`."""

    id: str
    name: str
    secret: str


async def subscribe(admin: Api, supervisor: Api, receiver: str) -> tuple[Subscription, Subscription]:
    """Creates the admin's webhook `everything`, for every event, and the supervisor's webhook
    `purchasing`, for stock that is nearly used up.

    `receiver` is the scheme, host and port of the receiver.
    """
    return (
        await _create(admin, receiver, "everything", {"events": list(CATALOGUE)}),
        await _create(
            supervisor, receiver, "purchasing", {"events": [LowStockAlert.type], "filters": {"minStockThreshold": 5}}
        ),
    )


async def delete_leftovers(owner: Api) -> int:
    """Deletes the webhooks of earlier demos, whose receivers are gone. Returns their number."""
    found = [
        row["id"] for row in (await owner.get("/webhooks"))["webhooks"] if urlsplit(row["url"]).path.startswith(_PATH)
    ]
    for webhook_id in found:
        await owner.delete(f"/webhooks/{webhook_id}")
    return len(found)


async def _create(owner: Api, receiver: str, name: str, what: Json) -> Subscription:
    body = {"url": f"{receiver}{_PATH}{name}", "retryPolicy": _RETRY_POLICY, **what}
    webhook = (await owner.post("/webhooks", body))["webhook"]
    return Subscription(webhook["id"], name, webhook["secret"])
