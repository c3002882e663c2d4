"""Replays of a range of events, and the pull cursor."""

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

from tests.support.contract.client import UNKNOWN_ID, Client
from tests.support.contract.ears import Listen

URL, EVENTS = "https://receiver.invalid/in", ["item-created"]


async def done(client: Client, webhook_id: str, job_id: str) -> dict[str, Any]:
    """The job, once it has ended."""
    while True:
        job: dict[str, Any] = (await client.get(f"/webhooks/{webhook_id}/replays/{job_id}"))["job"]
        if job["status"] not in {"queued", "running"}:
            return job
        await asyncio.sleep(0.02)


async def test_a_dry_run_counts_and_a_replay_sends_again(admin: Client, listen: Listen) -> None:
    """`POST /webhooks/:id/replay {since, until, status?, types?, dryRun?}`: a dry run counts first;
    same id"""
    ears = await listen(admin, ["item-created"])
    item = await admin.item()
    first = await ears.hear("item-created", itemId=item["id"])
    await ears.ended(first.event_id, "success")
    wanted = {"since": item["created_at"][:10] + "T00:00:00Z", "status": "success"}
    counted = await admin.post(f"/webhooks/{ears.id}/replay", wanted | {"dryRun": True}, status=200)
    assert counted["count"] == 1
    assert len(ears.receiver.arrivals) == 1
    job = (await admin.post(f"/webhooks/{ears.id}/replay", wanted, status=202))["job"]
    assert (await done(admin, ears.id, job["id"]))["done"] == 1
    again = await ears.hear("item-created", 2, itemId=item["id"])
    assert (again.event_id, again.envelope["attempt"]) == (first.event_id, 2)


async def test_a_replay_backfills_a_new_webhook(admin: Client, listen: Listen) -> None:
    """backfills a new webhook with events from before it existed"""
    earlier = await listen(admin, ["item-created"])
    place = await admin.location()
    item = await admin.item(location_id=place)
    await earlier.hear("item-created", itemId=item["id"])
    new = await listen(admin, ["item-created"], filters={"locations": [place]})
    wanted = {"since": item["created_at"][:10] + "T00:00:00Z", "status": "missing"}
    job = (await admin.post(f"/webhooks/{new.id}/replay", wanted))["job"]
    await done(admin, new.id, job["id"])
    await new.hear("item-created", itemId=item["id"])
    assert job["id"] in {found["id"] for found in (await admin.get(f"/webhooks/{new.id}/replays"))["jobs"]}


async def test_a_bad_range_is_refused(owner: Client) -> None:
    """`{since, until, status?, types?, dryRun?}`"""
    webhook = await owner.webhook(URL, EVENTS)
    path = f"/webhooks/{webhook['id']}/replay"
    (await owner.ask("POST", path, {})).problem(400, "/since")
    (await owner.ask("POST", path, {"since": "yesterday"})).problem(400, "/since")
    since = {"since": "2026-01-01T00:00:00Z"}
    (await owner.ask("POST", path, since | {"status": "lost"})).problem(400, "/status")
    (await owner.ask("POST", path, since | {"types": ["item-exploded"]})).problem(400)
    (await owner.ask("POST", path, since | {"until": "2025-01-01T00:00:00Z"})).problem(400)
    (await owner.ask("GET", f"/webhooks/{webhook['id']}/replays/{UNKNOWN_ID}")).problem(404)


async def test_the_stream_never_skips_and_never_repeats(admin: Client, listen: Listen) -> None:
    """`GET /webhooks/:id/stream?after=` is a pull cursor over `position`, with long-poll"""
    ears = await listen(admin, ["item-created"])
    place = await admin.location()
    await admin.put(f"/webhooks/{ears.id}", {"filters": {"locations": [place]}, "active": False})
    items: list[str] = []
    seen: list[str] = []
    after = (await admin.get(f"/webhooks/{ears.id}/stream"))["next"]
    for _ in range(5):
        items.append((await admin.item(location_id=place))["id"])
        await admin.item(location_id=await admin.location())
    while len(seen) < len(items):
        page = await admin.get(f"/webhooks/{ears.id}/stream?after={after}&limit=2&wait=20")
        seen += [event["data"]["itemId"] for event in page["events"]]
        after = page["next"]
    assert seen == items


async def test_a_streamed_event_is_signed_as_one_that_is_sent(admin: Client, listen: Listen) -> None:
    """`X-Webhook-Signature`"""
    ears = await listen(admin, ["item-created"])
    after = (await admin.get(f"/webhooks/{ears.id}/stream"))["next"]
    await admin.item(name="Of the stream ½")
    page = await admin.get(f"/webhooks/{ears.id}/stream?after={after}&wait=20")
    event = next(event for event in page["events"] if event["data"]["name"] == "Of the stream ½")
    data = json.dumps(event["data"], ensure_ascii=False, separators=(",", ":")).encode()
    assert event["signature"] == hmac.new(ears.secret.encode(), data, hashlib.sha256).hexdigest()
    assert base64.b64decode(ears.secret.removeprefix("whsec_"))


async def test_a_bad_cursor_is_refused(owner: Client) -> None:
    """`?after=`"""
    webhook = await owner.webhook(URL, EVENTS)
    path = f"/webhooks/{webhook['id']}/stream"
    (await owner.ask("GET", f"{path}?after=nonsense")).problem(400, "?after")
    (await owner.ask("GET", f"{path}?limit=0")).problem(400, "?limit")
    (await owner.ask("GET", f"{path}?wait=61")).problem(400, "?wait")
    (await owner.ask("GET", f"/webhooks/{UNKNOWN_ID}/stream")).problem(404)
