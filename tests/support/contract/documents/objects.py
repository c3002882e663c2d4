"""Executes the blocks of the documents that are JSON."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from service.events.catalogue import CATALOGUE
from tests.support.contract.client import PASSWORD
from tests.support.contract.documents.blocks import Block
from tests.support.contract.documents.scene import Scene
from tests.support.contract.ears import answering


async def run_json(scene: Scene, block: Block) -> None:
    """An example of a request is sent. An example of an answer must have the form of a real
    answer."""
    example = json.loads(block.text)
    shape = frozenset(example)
    for keys, check in JSON_SHAPES.items():
        if keys <= shape:
            await check(scene, example)
            return
    raise AssertionError(f"{block} is like nothing that the API sends or takes: {sorted(shape)}")


async def _envelope(_: Scene, example: dict[str, Any]) -> None:
    assert list(example) == ["id", "eventType", "data", "timestamp", "attempt"]
    assert list(example["data"]) == list(CATALOGUE[example["eventType"]].model_fields)


async def _webhook(scene: Scene, example: dict[str, Any]) -> None:
    webhook = (await scene.admin.post("/webhooks", example, status=201))["webhook"]
    await scene.admin.delete(f"/webhooks/{webhook['id']}")


async def _problem(scene: Scene, example: dict[str, Any]) -> None:
    refused = await scene.admin.post("/items", {"name": " ", "quantity": -1}, status=example["status"])
    assert refused == example


async def _test_result(scene: Scene, example: dict[str, Any]) -> None:
    ears = await scene.listen(scene.admin, ["item-created"], answer=answering(example["statusCode"]))
    assert await scene.admin.post(f"/webhooks/{ears.id}/test") == example


async def _explanation(scene: Scene, example: dict[str, Any]) -> None:
    ears, event_id = await scene.failed()
    shown = await scene.admin.get(f"/events/{event_id}/explain?webhook={ears.id}")
    assert list(shown) == list(example)
    assert list(shown["event"]) == list(example["event"])
    assert list(shown["webhook"]) == list(example["webhook"])


async def _counted(scene: Scene, example: dict[str, Any]) -> None:
    ears, _ = await scene.failed()
    wanted = {"since": "2026-01-01T00:00:00Z", "dryRun": True}
    assert list(await scene.admin.post(f"/webhooks/{ears.id}/replay", wanted)) == list(example)


async def _job(scene: Scene, example: dict[str, Any]) -> None:
    ears, _ = await scene.failed()
    shown = await scene.admin.post(f"/webhooks/{ears.id}/replay", {"since": "2026-01-01T00:00:00Z"})
    assert list(shown["job"]) == list(example["job"])
    assert list(shown["job"]["request"]) == list(example["job"]["request"])


async def _stream(scene: Scene, example: dict[str, Any]) -> None:
    ears, _ = await scene.failed()
    shown = await scene.admin.get(f"/webhooks/{ears.id}/stream?after=earliest&limit=1")
    assert list(shown) == list(example)
    assert list(shown["events"][0]) == list(example["events"][0])


async def _signed_in(scene: Scene, example: dict[str, Any]) -> None:
    assert scene.admin.user is not None
    login = {"username": scene.admin.user.username, "password": PASSWORD}
    shown = await scene.admin.as_user(None).post("/auth/login", login)
    assert list(shown) == list(example)
    assert list(shown["user"]) == list(example["user"])
    assert shown["message"] == example["message"]


async def _sessions(scene: Scene, example: dict[str, Any]) -> None:
    shown = await scene.admin.get("/auth/session-stats")
    assert list(shown) == list(example)
    assert list(shown["devices"][0]) == list(example["devices"][0])


JSON_SHAPES: dict[frozenset[str], Callable[[Scene, dict[str, Any]], Awaitable[None]]] = {
    frozenset({"eventType", "data", "attempt"}): _envelope,
    frozenset({"url", "events"}): _webhook,
    frozenset({"type", "title", "status", "detail"}): _problem,
    frozenset({"success", "statusCode"}): _test_result,
    frozenset({"reason", "basis"}): _explanation,
    frozenset({"count", "byType"}): _counted,
    frozenset({"job"}): _job,
    frozenset({"token", "refreshToken"}): _signed_in,
    frozenset({"active", "expired", "devices"}): _sessions,
    frozenset({"events", "next"}): _stream,
}
