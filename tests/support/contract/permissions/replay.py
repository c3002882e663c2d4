"""The permissions for the routes of replays and of the stream.

webhooks, their events, retry, replay, explain, test | all | own | own | own | own
"""

from dataclasses import replace

from tests.support.contract.permissions.table import Request, Stage, row
from tests.support.contract.permissions.webhooks import OWN

_RANGE = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}


async def _webhook(stage: Stage) -> Request:
    webhook = await stage.owner.webhook("http://127.0.0.1:1/in", ["user-updated"])
    return Request({"id": webhook["id"]}, _RANGE)


async def _read(stage: Stage) -> Request:
    return Request((await _webhook(stage)).path)


async def _job(stage: Stage) -> Request:
    path = (await _webhook(stage)).path
    job = (await stage.owner.post(f"/webhooks/{path['id']}/replay", _RANGE))["job"]
    return Request(path | {"jobId": job["id"]})


TABLE = [
    row("POST /webhooks/{id}/replay", _webhook, **OWN),
    row("GET /webhooks/{id}/replays", _read, **OWN),
    row("GET /webhooks/{id}/replays/{jobId}", _job, **OWN),
    replace(row("DELETE /webhooks/{id}/replays/{jobId}", _job, **OWN), may_conflict=True),
    row("GET /webhooks/{id}/stream", _read, **OWN),
]
