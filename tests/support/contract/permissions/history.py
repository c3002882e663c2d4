"""The permissions for the routes over one event.

webhooks, their events, retry, replay, explain, test | all | own | own | own | own
"""

from tests.support.contract.permissions.table import Request, Stage, row
from tests.support.contract.permissions.webhooks import OWN, delivered


async def _explained(stage: Stage) -> Request:
    path = (await delivered(stage)).path
    return Request({"id": path["eventId"]}, query=f"?webhook={path['id']}")


TABLE = [
    row("GET /webhooks/{id}/events/{eventId}", delivered, **OWN),
    row("GET /events/{id}/explain", _explained, **OWN),
]
