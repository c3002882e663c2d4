"""Several people change the same stock at the same moment: no unit is lost, made, or promised
twice."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from service.platform.ids import new_id
from tests.support.api.caller import Answer, Api, Caller, SignUp
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit

T = TypeVar("T")
BOUNDS = settings(
    max_examples=10,
    stateful_step_count=10,
    # A failure here depends on which command came first, so an example that failed need not fail
    # again.
    database=None,
    suppress_health_check=list(HealthCheck),
)
PLACES, KINDS = 3, 2
ENDS = {"reject", "complete", "cancel"}

# The number of units of each kind that there should be, from changes of the items themselves. It
# comes from the audit trail, not from the ledger. The trail also has the changes by transfers and
# checkouts, which neither make nor lose a unit.
EXPECTED = """
  select coalesce(after ->> 'sku', before ->> 'sku') as kind,
         sum(coalesce((after ->> 'quantity')::int, 0) - coalesce((before ->> 'quantity')::int, 0)) as units
    from audit
   where entity = 'item' and action in ('create', 'update', 'move', 'delete')
     and coalesce(after ->> 'sku', before ->> 'sku') = any ($1)
   group by 1 order by 1
"""
# Units in stock, and units that are handed out.
PRESENT = """
  select kind, sum(units) as units
    from (select sku as kind, quantity as units from items
           union all
          select i.sku, c.quantity - c.returned_quantity
            from checkouts as c join items as i on i.id = c.open_item_id where c.status = 'active') as known
   where kind = any ($1)
   group by 1 having sum(units) > 0 order by 1
"""
ITEMS = "select id, location_id, quantity, reserved_quantity from items where sku = any ($1) order by id"
OPEN = "select id from transfers where status in ('pending', 'approved', 'in_transit') order by id"
OUT = "select c.id from checkouts as c join items as i on i.id = c.open_item_id where i.sku = any ($1) order by c.id"
MISCOUNTED = """
  select id, name, quantity, reserved_quantity
    from items
   where quantity <> (select coalesce(sum(delta), 0) from stock_moves where item_id = items.id)
      or reserved_quantity <> (select coalesce(sum(quantity), 0) from transfers
                                where item_id = items.id and status in ('pending', 'approved', 'in_transit'))
      or reserved_quantity not between 0 and quantity
"""


@dataclass
class Stock:
    """Items of two kinds at three locations, and the state known between two moments at which
    people act."""

    caller: Caller
    connection: Connection
    kinds: list[str]
    places: list[str] = field(default_factory=list)
    items: list[tuple[str, str | None]] = field(default_factory=list)
    open_transfers: list[str] = field(default_factory=list)
    checkouts: list[str] = field(default_factory=list)
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    async def open(cls, caller: Caller, connection: Connection, quantities: list[int]) -> "Stock":
        example = new_id()
        stock = cls(caller, connection, [f"{example}-{kind}" for kind in range(KINDS)])
        for number in range(PLACES):
            stock.places.append((await caller.make("/locations", name=f"{example} {number}"))["id"])
        for number, quantity in enumerate(quantities):
            await stock.create(number, number, quantity)
        return stock

    async def check(self) -> None:
        rows = await self.connection.fetch(ITEMS, self.kinds)
        self.items = [(str(row["id"]), str(row["location_id"]) if row["location_id"] else None) for row in rows]
        self.open_transfers = [str(row["id"]) for row in await self.connection.fetch(OPEN)]
        self.checkouts = [str(row["id"]) for row in await self.connection.fetch(OUT, self.kinds)]
        expected = [tuple(row) for row in await self.connection.fetch(EXPECTED, self.kinds)]
        present = [tuple(row) for row in await self.connection.fetch(PRESENT, self.kinds)]
        assert present == [(kind, units) for kind, units in expected if units]
        assert await self.connection.fetch(MISCOUNTED) == []
        ended = Counter[str]()
        for (transfer, step), times in self.steps.items():
            assert times == 1, f"{step} succeeded {times} times"
            ended[transfer] += step in ENDS
        assert not [transfer for transfer, ends in ended.items() if ends > 1]

    # The commands of the people. `pick` chooses an item or transfer, if there is one.

    async def create(self, pick: int, place: int, units: int) -> Answer:
        body = {"name": f"Kind {pick % KINDS}", "sku": self.kinds[pick % KINDS], "quantity": units}
        return await self.caller.post("/items", body | {"location_id": self.places[place % PLACES]})

    async def count(self, pick: int, place: int, units: int) -> Answer | None:
        return await self._on_item(pick, "PUT", "", {"quantity": units})

    async def move(self, pick: int, place: int, units: int) -> Answer | None:
        return await self._on_item(pick, "PUT", "/location", {"location_id": self.places[place % PLACES]})

    async def delete(self, pick: int, place: int, units: int) -> Answer | None:
        return await self._on_item(pick, "DELETE", "", None)

    async def request(self, pick: int, place: int, units: int) -> Answer | None:
        if not self.items:
            return None
        item_id, from_id = self.items[pick % len(self.items)]
        places = {"from_location_id": from_id, "to_location_id": self.places[place % PLACES]}
        return await self.caller.post("/transfers", {"item_id": item_id, "quantity": 1 + units % 4} | places)

    async def step(self, pick: int, place: int, units: int, *, name: str) -> Answer | None:
        if not self.open_transfers:
            return None
        transfer_id = self.open_transfers[pick % len(self.open_transfers)]
        answer = await self.caller.post(f"/transfers/{transfer_id}/{name}", None)
        if answer.status == 200:
            self.steps[transfer_id, name] += 1
        return answer

    async def lend(self, pick: int, place: int, units: int) -> Answer | None:
        if not self.items:
            return None
        body = {"item_id": self.items[pick % len(self.items)][0], "quantity": 1 + units % 4}
        return await self.caller.post("/checkouts/checkout", body)

    async def give_back(self, pick: int, place: int, units: int) -> Answer | None:
        """To where the item is, or to one of the places."""
        if not self.checkouts:
            return None
        path = f"/checkouts/{self.checkouts[pick % len(self.checkouts)]}/checkin"
        location_id = self.places[place % PLACES] if units % 2 else None
        return await self.caller.post(path, {"quantity": 1 + units % 3, "location_id": location_id})

    async def _on_item(self, pick: int, method: str, path: str, body: Any) -> Answer | None:
        if not self.items:
            return None
        return await self.caller.ask(method, f"/items/{self.items[pick % len(self.items)][0]}{path}", body)


COMMANDS: dict[str, Callable[[Stock, int, int, int], Awaitable[Answer | None]]] = {
    "create": Stock.create,
    "count": Stock.count,
    "move": Stock.move,
    "delete": Stock.delete,
    "request": Stock.request,
    "lend": Stock.lend,
    "give_back": Stock.give_back,
    **{name: partial(Stock.step, name=name) for name in ("approve", "reject", "dispatch", "complete", "cancel")},
}
# Commands that get in each other's way are refused. None fails with a 500.
ANSWERS = {200, 201, 204, 400, 404, 409, 422}
OFTEN = [
    "request",
    "request",
    "approve",
    "approve",
    "complete",
    "complete",
    "count",
    "lend",
    "lend",
    "give_back",
    "give_back",
]
COMMAND = st.tuples(
    st.sampled_from([*OFTEN, *COMMANDS]), st.integers(0, 9), st.integers(0, PLACES - 1), st.integers(0, 9)
)


async def test_units_are_conserved_whatever_is_done_at_once(
    api: Api, sign_up: SignUp, connection: Connection, database_url: str
) -> None:
    caller = Caller(api, await sign_up("admin"))
    loop = asyncio.get_running_loop()
    succeeded = Counter[str]()

    def wait_for(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=60)

    class People(RuleBasedStateMachine):
        stock: Stock

        @initialize(quantities=st.lists(st.integers(1, 9), min_size=PLACES, max_size=PLACES * KINDS))
        def open(self, quantities: list[int]) -> None:
            self.stock = wait_for(Stock.open(caller, connection, quantities))

        @rule(commands=st.lists(COMMAND, min_size=2, max_size=8))
        def act_at_once(self, commands: list[tuple[str, int, int, int]]) -> None:
            answers = wait_for(_together(self.stock, commands))
            for (name, *_), answer in zip(commands, answers, strict=True):
                assert answer is None or answer.status in ANSWERS, (name, answer)
                succeeded[name] += answer is not None and answer.status < 300

        @invariant()
        def nothing_is_lost(self) -> None:
            wait_for(self.stock.check())

        def teardown(self) -> None:
            if hasattr(self, "stock"):
                assert wait_for(run_audit("stock_conservation", database_url)) == []

    await asyncio.to_thread(run_state_machine_as_test, People, settings=BOUNDS)

    # If hardly any command had succeeded, the test would show nothing.
    assert (
        min(succeeded[name] for name in ("request", "approve", "complete", "cancel", "count", "lend", "give_back")) > 0
    )


async def _together(stock: Stock, commands: list[tuple[str, int, int, int]]) -> list[Answer | None]:
    return await asyncio.gather(*(COMMANDS[name](stock, *numbers) for name, *numbers in commands))
