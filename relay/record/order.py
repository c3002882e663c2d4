"""Order by item: one delivery of an item to a webhook is due at a time. When it ends, the next one
becomes due."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias
from uuid import UUID

import asyncpg

from service.platform.queries import Connection, load

_SQL = load("order")

NO_LONGER_ASKED = "skipped: its webhook no longer asks for that"
# A webhook and an item.
Key: TypeAlias = tuple[UUID, UUID]
# A lane that has a new head, and in how many seconds that is due.
Due: TypeAlias = tuple[UUID, float]
# Only these webhooks. None: all.
Only: TypeAlias = Sequence[UUID] | None


class Failed(Protocol):
    """A delivery that failed for good."""

    @property
    def webhook_id(self) -> UUID: ...
    @property
    def item_id(self) -> UUID | None: ...
    @property
    def position(self) -> int: ...
    @property
    def event_at(self) -> datetime: ...


class Order:
    """Some items of some webhooks, locked for the rest of a transaction. Meanwhile no other
    transaction queues their deliveries or makes the next one due. Read the deliveries in a later
    statement than the lock: only its snapshot contains what the previous holders of the lock
    committed."""

    def __init__(self, connection: Connection, keys: Sequence[Key]) -> None:
        self._connection = connection
        self.webhook_ids = [webhook_id for webhook_id, _ in keys]
        self.item_ids = [item_id for _, item_id in keys]

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    async def of(cls, connection: Connection, deliveries: Iterable[tuple[UUID, UUID | None]]) -> "Order":
        """Locks these items of these webhooks. A delivery that stands in no order has the item
        None."""
        order = cls(connection, list({(webhook, item) for webhook, item in deliveries if item is not None}))
        if order.item_ids:
            await _SQL.lock.execute(connection, webhook_ids=order.webhook_ids, item_ids=order.item_ids)
        return order

    @classmethod
    async def discarded(cls, connection: Connection, batch: int, only: Only) -> "Order":
        """Locks the items of deliveries that their webhooks have discarded."""
        return cls._locked(connection, await _SQL.lock_discarded.fetch(connection, batch=batch, only=only))

    @classmethod
    async def expired(cls, connection: Connection, batch: int, only: Only, ttl_seconds: int) -> "Order":
        """Locks the items of deliveries whose events are older than the log keeps."""
        rows = await _SQL.lock_expired.fetch(connection, batch=batch, only=only, ttl_seconds=ttl_seconds, now=None)
        return cls._locked(connection, rows)

    @classmethod
    async def needless(cls, connection: Connection, batch: int, only: Only, ttl_seconds: int) -> "Order":
        """Locks items that are blocked by a delivery that nobody can resolve any more, or whose
        webhook no longer asks to be blocked."""
        rows = await _SQL.lock_needless.fetch(connection, batch=batch, only=only, ttl_seconds=ttl_seconds, now=None)
        return cls._locked(connection, rows)

    @classmethod
    def _locked(cls, connection: Connection, rows: Sequence[asyncpg.Record]) -> "Order":
        return cls(connection, [(row["webhook_id"], row["item_id"]) for row in rows])

    async def block(self, failed: Sequence[Failed]) -> None:
        """Blocks items by these deliveries, which have just been recorded as failed for good. If
        the webhook asks to skip by now, the delivery is skipped at once."""
        if not failed:
            return
        rows = await _SQL.block.fetch(
            self._connection,
            webhook_ids=[delivery.webhook_id for delivery in failed],
            item_ids=[delivery.item_id for delivery in failed],
            positions=[delivery.position for delivery in failed],
            event_ats=[delivery.event_at for delivery in failed],
        )
        if unwanted := [row for row in rows if not row["wanted"]]:
            await self._locked(self._connection, unwanted).skip(NO_LONGER_ASKED)

    async def skip(self, why: str) -> None:
        """Skips the deliveries that block these items."""
        await _SQL.skip.execute(self._connection, webhook_ids=self.webhook_ids, item_ids=self.item_ids, why=why)

    async def promote(self) -> list[Due]:
        """Makes the next delivery due for each of these items whose head has ended and that is not
        blocked."""
        if not self.item_ids:
            return []
        rows = await _SQL.promote.fetch(self._connection, webhook_ids=self.webhook_ids, item_ids=self.item_ids)
        return [(row["webhook_id"], row["due_in"]) for row in rows]
