"""A relay's slots: how many requests it may have under way at once, in all and for one webhook."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from relay.lanes import NIL


@dataclass(frozen=True, slots=True)
class Offer:
    """Slots of the leader's for what fan-out queues: so many in all and for each webhook, but none for those that are crowded."""

    relay_id: UUID = NIL
    most: int = 0
    per_webhook: int = 0
    crowded: tuple[UUID, ...] = ()


NOTHING = Offer()


class Held(Hashable, Protocol):
    """What holds a slot. When it is cancelled it gives it back, at once or soon."""

    def cancel(self) -> object: ...


class Slots:
    """`on_free` hears that a request to a webhook has ended, `on_crash` also of a defect of ours in it."""

    def __init__(
        self,
        concurrency: int,
        per_webhook: int,
        *,
        on_free: Callable[[UUID], None],
        on_crash: Callable[[UUID, BaseException], None],
    ) -> None:
        self._concurrency = concurrency
        self._per_webhook = per_webhook
        # What fan-out may take of a lane: the rest is for claims that run beside it.
        self._share = max(1, per_webhook // 2)
        self._on_free = on_free
        self._on_crash = on_crash
        self._under_way: dict[Held, tuple[UUID, int | None]] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._per_lane: Counter[UUID] = Counter()
        self._offer = NOTHING
        self._closed = asyncio.Event()
        self._closed.set()
        # What a claim that is under way may fill, and of which lanes.
        self._claiming = 0
        self._claimed: frozenset[UUID] = frozenset()

    @property
    def in_flight(self) -> int:
        return len(self._under_way)

    @property
    def in_use(self) -> int:
        """Those in flight, and those that fan-out may be filling right now."""
        return len(self._under_way) + self._offer.most

    @property
    def offered(self) -> bool:
        return self._offer is not NOTHING

    @property
    def free(self) -> int:
        return self._concurrency - self.in_use - self._claiming

    def room(self, webhook_id: UUID) -> int:
        """How many more requests the webhook may be sent."""
        kept = self._offer.per_webhook if webhook_id not in self._offer.crowded else 0
        return self._per_webhook - self._per_lane[webhook_id] - kept

    def roomy(self, webhook_id: UUID | None = None) -> bool:
        """Whether half of the slots are free, so that what waits need not wait for more; `webhook_id`: of this lane's, too."""
        if self.free < self._concurrency / 2:
            return False
        return webhook_id is None or self._per_lane[webhook_id] <= self._per_webhook / 2

    def offer(self, relay_id: UUID, backlogged: Iterable[UUID]) -> Offer:
        """Slots are kept free until `close`. Lanes with a backlog get none, as what is new would overtake it; they are about to be
        claimed from, and what they have room for is not offered."""
        lanes = list(backlogged)
        # What has more than it may, if anything ever has, makes no room for others.
        if (free := self.free - sum(max(0, self.room(webhook_id)) for webhook_id in lanes)) <= 0:
            return NOTHING
        self._closed.clear()
        full = self._per_webhook - self._share
        crowded = {webhook_id for webhook_id, busy in self._per_lane.items() if busy > full}
        self._offer = Offer(relay_id, free, self._share, tuple(crowded.union(lanes, self._claimed)))
        return self._offer

    def close(self) -> None:
        """What was offered and not filled is free again."""
        self._offer = NOTHING
        self._closed.set()

    @contextmanager
    def claiming(self, lanes: Sequence[tuple[UUID, int]], most: int) -> Iterator[None]:
        """What a claim may fill of these lanes, and in all, is not free meanwhile. One claim at a time."""
        self._claiming = min(most, sum(share for _, share in lanes))
        self._claimed = frozenset(webhook_id for webhook_id, _ in lanes)
        try:
            yield
        finally:
            self._claiming, self._claimed = 0, frozenset()

    def hold(self, holder: Held, webhook_id: UUID, fence: int | None) -> None:
        """A slot is in use until `release`. `fence`: of the lease that is sent under it."""
        self._per_lane[webhook_id] += 1
        self._under_way[holder] = webhook_id, fence
        self._empty.clear()

    def release(self, holder: Held) -> None:
        webhook_id, _ = self._under_way.pop(holder)
        self._per_lane[webhook_id] -= 1
        if not self._per_lane[webhook_id]:
            del self._per_lane[webhook_id]
        if not self._under_way:
            self._empty.set()
        self._on_free(webhook_id)

    def start(self, webhook_id: UUID, sending: Coroutine[Any, Any, None]) -> None:
        """A task that holds a slot until it has ended."""
        task = asyncio.create_task(sending)
        self.hold(task, webhook_id, None)
        task.add_done_callback(lambda task: self._ended(task, webhook_id))

    def fences(self) -> list[int]:
        """Of the leases that are being sent."""
        return [fence for _, fence in self._under_way.values() if fence is not None]

    async def emptied(self, seconds: float) -> None:
        """Wait until nothing is in flight, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            pass

    async def finish(self, grace_seconds: float) -> None:
        """Wait for what is in flight, at most so long; what is not done then is cut off. Nothing is offered any more; what was
        before may still come."""
        try:
            async with asyncio.timeout(grace_seconds):
                await self._closed.wait()
                await self._empty.wait()
        except TimeoutError:
            pass
        for holder in list(self._under_way):
            holder.cancel()
        await self._empty.wait()

    def _ended(self, task: "asyncio.Task[None]", webhook_id: UUID) -> None:
        self.release(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_crash(webhook_id, error)
