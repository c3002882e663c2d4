"""Webhooks that ask for order by item, and a receiver's answer that checks the order."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import orjson
from aiohttp import web

from service.platform.ids import new_id
from service.platform.settings import Settings
from tests.support.database import Connection, Queries
from tests.support.postgres.audit_scripts import run_audit
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.rows import Webhook, add_webhook
from tests.support.waiting import until

EVENT = "item-updated"


async def ordered_webhook(
    connection: Connection,
    settings: Settings,
    url: str,
    on_failure: Literal["block", "skip"] = "block",
    *,
    max_retries: int = 3,
) -> Webhook:
    return await add_webhook(
        connection, settings, url, [EVENT], max_retries=max_retries, ordering="item", on_failure=on_failure
    )


def items(count: int) -> list[UUID]:
    return [new_id() for _ in range(count)]


async def change(connection: Queries, item_id: UUID, number: int = 0) -> UUID:
    """Writes an event of the item. `number` is the writer's own count."""
    event_id: UUID = await connection.fetchval(
        "insert into outbox (type, data) values ($1, $2) returning id",
        EVENT,
        orjson.dumps({"itemId": str(item_id), "n": number}).decode(),
    )
    return event_id


async def change_all(connection: Connection, item_ids: Sequence[UUID], rounds: int) -> None:
    """Writes `rounds` events of each item, in turn, in one transaction."""
    for number in range(rounds):
        await connection.executemany(
            "insert into outbox (type, data) values ($1, $2)",
            [(EVENT, orjson.dumps({"itemId": str(item_id), "n": number}).decode()) for item_id in item_ids],
        )


Verdict = Callable[[Arrival], Awaitable[int]]


async def accepted(_: Arrival) -> int:
    return 200


@dataclass
class Watch:
    """A receiver's answer that notes whether two events of an item are in flight at once. For each
    path and item, it keeps the sequences (`taken`) and the writer's numbers of the events that it
    accepted, in the order of their first acceptance. `verdict` gives the status."""

    verdict: Verdict = accepted
    overlaps: list[str] = field(default_factory=list)
    taken: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    _under_way: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))

    async def __call__(self, arrival: Arrival) -> web.StreamResponse:
        envelope = arrival.envelope
        key = arrival.path, envelope["data"]["itemId"]
        # A killed relay may leave the same event in flight twice.
        if self._under_way[key] - {arrival.event_id}:
            self.overlaps.append(f"{key} {envelope}")
        self._under_way[key].add(arrival.event_id)
        try:
            status = await self.verdict(arrival)
        finally:
            self._under_way[key].discard(arrival.event_id)
        if 200 <= status <= 299 and envelope["data"]["n"] not in self.numbers[key]:
            self.numbers[key].append(envelope["data"]["n"])
            if "sequence" in envelope:
                self.taken[key].append(envelope["sequence"])
        return web.Response(status=status)


async def waits_for(connection: Connection, webhook: Webhook, event_id: UUID) -> None:
    """Waits until the event is pending, and not due because others of its item are before it."""

    async def waits() -> bool:
        found: bool = await connection.fetchval(
            "select exists (select from deliveries where webhook_id = $1 and event_id = $2 and next_attempt_at is null)",
            webhook.id,
            event_id,
        )
        return found

    await until(waits, f"{event_id} waits for its turn")


async def blocked(connection: Connection, count: int = 1) -> None:
    """Waits until this many items are blocked."""

    async def are() -> bool:
        found: int = await connection.fetchval("select count(*) from item_orders where blocked_position is not null")
        return found == count

    await until(are, f"{count} items are blocked")


async def check_order(url: str) -> None:
    assert await run_audit("order", url) == []
    assert await run_audit("outbox_completeness", url) == []


def gate(receiver: Receiver, watch: Watch) -> asyncio.Event:
    """The receiver answers once this event is set."""
    opened = asyncio.Event()

    async def verdict(_: Arrival) -> int:
        await opened.wait()
        return 200

    watch.verdict = verdict
    receiver.answer = watch
    return opened
