"""A webhook of the running system, with a receiver that the test reads."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from tests.support.contract.client import Client
from tests.support.receivers.receiver import Arrival, Receiver, Responder
from tests.support.waiting import PATIENCE


@dataclass
class Ears:
    """A webhook and its receiver."""

    client: Client
    webhook: dict[str, Any]
    receiver: Receiver

    @property
    def id(self) -> str:
        return str(self.webhook["id"])

    @property
    def secret(self) -> str:
        return str(self.webhook["secret"])

    def all(self, event_type: str | None = None, **data: Any) -> list[Arrival]:
        """The arrivals so far of this type with these values in their data."""
        return [
            arrival
            for arrival in self.receiver.arrivals
            if (event_type is None or arrival.envelope["eventType"] == event_type)
            and all(arrival.envelope["data"].get(name) == value for name, value in data.items())
        ]

    async def hear(self, event_type: str, count: int = 1, **data: Any) -> Arrival:
        """Waits for `count` matching arrivals, and returns the last of them."""
        await self.until(lambda: len(self.all(event_type, **data)) >= count)
        return self.all(event_type, **data)[-1]

    async def data(self, event_type: str, count: int = 1, **data: Any) -> dict[str, Any]:
        """Waits for the event, and returns its `data`. JSON objects keep the order of their
        keys."""
        found: dict[str, Any] = (await self.hear(event_type, count, **data)).envelope["data"]
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            await self.receiver.wait_for(condition)
        except TimeoutError:
            seen = [(arrival.envelope["eventType"], arrival.envelope["data"]) for arrival in self.receiver.arrivals]
            raise AssertionError(f"what was waited for did not arrive; this did: {seen}") from None

    async def types(self) -> list[str]:
        """The types in the webhook's history, oldest first, once everything before now is fanned
        out."""
        return [event["eventType"] for event in await self.events()]

    async def events(self, **data: Any) -> list[dict[str, Any]]:
        """The webhook's history, oldest first, once everything that was committed before this call
        is fanned out."""
        await self.settle()
        page = await self.client.get(f"/webhooks/{self.id}/events?limit=200")
        return [
            event
            for event in reversed(page["events"])
            if event["eventType"] != _MARK and all(event["data"].get(name) == value for name, value in data.items())
        ]

    async def settle(self) -> None:
        """Write one more event and wait for it. Fan-out keeps the order, so every event before it
        has been fanned out then."""
        events = self.webhook["events"]
        if _MARK not in events:
            changed = {"events": [*events, _MARK]}
            self.webhook.update((await self.client.put(f"/webhooks/{self.id}", changed))["webhook"])
        category = await self.client.category()
        await self.hear(_MARK, categoryId=category)

    async def ended(self, event_id: str, status: str) -> dict[str, Any]:
        """The event in the webhook's history, once it has this status."""
        path = f"/webhooks/{self.id}/events?limit=200"
        end = time.monotonic() + PATIENCE
        while True:
            for event in (await self.client.get(path))["events"]:
                if event["id"] == event_id and event["deliveryStatus"] == status:
                    found: dict[str, Any] = event
                    return found
            assert time.monotonic() < end, f"{event_id} did not become {status}"
            await asyncio.sleep(0.02)


_MARK = "category-created"


class Listen(Protocol):
    async def __call__(self, client: Client, events: list[str], *, answer: Responder = ..., **fields: Any) -> Ears: ...


def answering(*statuses: int, **headers: str) -> Any:
    """Answers with these statuses in turn, and with the last of them from then on."""
    left = list(statuses)

    async def answer(_: Arrival) -> web.StreamResponse:
        status = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, headers=headers, text="so it answered")

    return answer


ONCE = {"maxRetries": 0, "retryDelay": 100}


async def failed_event(admin: Client, ears: Ears) -> dict[str, Any]:
    item = await admin.item()
    arrival = await ears.hear("item-created", itemId=item["id"])
    return await ears.ended(arrival.event_id, "failed")
