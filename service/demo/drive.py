"""People at work: mutations through the API, a few a second."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import aiohttp

from service.demo.client import Api, Refused
from service.demo.seed import ADMIN, USERS

_SKU = "DM-"  # begins the sku of items that the demo adds. It removes only these.
_MOST_ADDED = 5
_PASSING = {404, 409, 503}
_AGAIN_SECONDS = 0.5
_NEW_ITEMS = ("Diamond blade 230 mm", "Extension lead 25 m", "Tarpaulin 6 × 8 m", "Ladder, 12 rungs", "Chain hoist 1 t")
_CONDITIONS = ("excellent", "good", "fair", "poor", "damaged")


class Driver:
    """Does one thing after the other. It calls `say` with a sentence about each."""

    def __init__(self, anyone: Api, clients: dict[str, Api], say: Callable[[str], None], rng: Random) -> None:
        self._anyone = anyone
        self._admin = clients[ADMIN.username]
        self._say = say
        self._rng = rng
        self._items: list[dict[str, Any]] = []
        self._locations: list[dict[str, Any]] = []

    async def run(self, stop: asyncio.Event) -> None:
        await self._look()
        deck: list[Callable[[], Awaitable[str]]] = []
        while not stop.is_set():
            if not deck:
                # A shuffled deck instead of dice, so that even a short run has each action as often
                # as it should.
                deck = [self._count, self._count, self._use_up, self._use_up, self._restock, self._edit, self._move]
                deck += [self._add, self._remove, self._visit, self._visit]
                self._rng.shuffle(deck)
            try:
                self._say(await deck.pop()())
            except Refused as refused:
                # Somebody else may have changed the same item, for example with curl. Or PostgreSQL
                # is away for a moment.
                if refused.status not in _PASSING:
                    raise
                self._say(str(refused))
                await self._look_again(stop)
            except aiohttp.ClientConnectionError:
                self._say("a request ended without an answer: its change and its event are both there, or neither is")
                await self._look_again(stop)
            try:
                await asyncio.wait_for(stop.wait(), self._rng.uniform(0.2, 0.4))
            except TimeoutError:
                continue

    async def _look_again(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._look()
            except (Refused, aiohttp.ClientConnectionError):
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def _look(self) -> None:
        self._items = await self._admin.get("/items?limit=200")
        self._locations = await self._admin.get("/locations?limit=200")

    async def _count(self) -> str:
        item = self._item()
        quantity = max(0, item["quantity"] + self._rng.choice((-3, -2, -1, 1, 2, 3)))
        return f"admin counts {item['name']}: {await self._set_quantity(item, quantity)}"

    async def _use_up(self) -> str:
        item = self._item(lambda item: item["quantity"] >= item["min_quantity"] > 0)
        return (
            f"admin takes {item['name']}: {await self._set_quantity(item, self._rng.randrange(item['min_quantity']))}"
        )

    async def _restock(self) -> str:
        item = self._item(lambda item: item["quantity"] < item["min_quantity"])
        return f"admin restocks {item['name']}: {await self._set_quantity(item, item['min_quantity'] * 3 + 1)}"

    async def _edit(self) -> str:
        item = self._item()
        condition = self._rng.choice([one for one in _CONDITIONS if one != item["condition"]])
        await self._put(item, {"condition": condition})
        return f"admin edits {item['name']}: its condition is {condition}"

    async def _move(self) -> str:
        item = self._item()
        place = self._rng.choice([one for one in self._locations if one["id"] != item["location_id"]])
        item |= await self._admin.put(f"/items/{item['id']}/location", {"location_id": place["id"]})
        return f"admin moves {item['name']} to {place['name']}"

    async def _add(self) -> str:
        body = {
            "name": self._rng.choice(_NEW_ITEMS),
            "sku": f"{_SKU}{self._rng.randrange(16**8):08x}",
            "quantity": self._rng.randrange(6, 30),
            "location_id": self._rng.choice(self._locations)["id"],
        }
        self._items.append(await self._admin.post("/items", body))
        return f"admin adds {body['name']}, {body['quantity']} of it"

    async def _remove(self) -> str:
        added = [item for item in self._items if (item["sku"] or "").startswith(_SKU)]
        if len(added) <= _MOST_ADDED:
            return await self._count()
        item = self._rng.choice(added)
        await self._admin.delete(f"/items/{item['id']}")
        self._items.remove(item)
        return f"admin removes {item['name']}"

    async def _visit(self) -> str:
        user = self._rng.choice(USERS)
        client = await self._anyone.signed_in(user.username, user.password)
        await client.get("/items?limit=5")
        await client.post("/auth/logout")
        return f"{user.username} signs in, looks at the items and signs out"

    def _item(self, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        return self._rng.choice([item for item in self._items if wanted(item)] or self._items)

    async def _set_quantity(self, item: dict[str, Any], quantity: int) -> str:
        before = item["quantity"]
        await self._put(item, {"quantity": quantity})
        return f"{before} → {quantity}"

    async def _put(self, item: dict[str, Any], body: dict[str, Any]) -> None:
        item |= await self._admin.put(f"/items/{item['id']}", body)
