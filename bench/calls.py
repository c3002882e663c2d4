"""Calls of the API. Every scenario drives the programs from outside, over HTTP and SQL.

So with `--against`, the programs of this tree and those of the other commit take turns in one run.
Without it, the figures are reported as they are.
"""

import asyncio
import dataclasses
import json
import random
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from bench.api import CONNECTIONS, ITEMS, logged_port, seed
from bench.client import Client
from bench.cpu import Cpu
from bench.database import Database
from bench.measure import UNITS, Figure, Row, Target, compared, interleave, shown
from bench.meter import under_load
from bench.sql import SQL
from bench.stream import latency_figure
from bench.world import Tree, World, rest_of
from service.demo.children import Child

RELAYS = 2
RATES = (50, 200)
BULK = 500
# The last changes of a run may take this long to reach the receiver.
_TAIL_SECONDS = 20.0


@asynccontextmanager
async def _served(world: World, tree: Tree, database: Database, *options: str) -> AsyncIterator[tuple[Child, int]]:
    """The API of a tree, and its port."""
    child = await world.children.start(
        "api", *tree.program("service", "serve", "--port", "0", *options), environment=world.environment(database, tree)
    )
    try:
        yield child, await logged_port(child)
    finally:
        await world.children.end(child)


async def _puts(world: World, tree: Tree, *, items: int = ITEMS, relays: int = 0, workers: int = 0) -> Figure:
    """PUTs a second over CONNECTIONS connections."""
    seconds = world.options.pick(6, 1)
    options = ("--workers", str(workers)) if workers else ()
    async with world.database(await world.template_of(tree)) as database:
        file = await seed(world, database, items)
        if relays:
            await database.add_webhooks(world.receiver.urls(1))
        async with world.relays(database, relays, tree=tree), _served(world, tree, database, *options) as (api, port):
            numbers = (port, CONNECTIONS, seconds, world.options.warm_up)
            [took], used = await under_load(world, [api.process.pid], seconds, ["bench.load", *map(str, numbers), file])
    return _rate(took, used, seconds)


def _rate(took: Mapping[str, float], used: Cpu, seconds: float) -> Figure:
    rate = took["requests"] / seconds
    cpu = used.per_delivery(rate * used.elapsed)
    return Figure(rate, "/s", cpu, more={"p50": took["p50"], "api_us": cpu["relay_us"], "pg_us": cpu["postgres_us"]})


async def _until_seen(world: World, tree: Tree, rate: int) -> Figure:
    """From the beginning of a call at a fixed rate until its event is at the receiver."""
    seconds = world.options.pick(8, 1)
    async with world.database(await world.template_of(tree)) as database:
        file = await seed(world, database, ITEMS)
        await database.add_webhooks(world.receiver.urls(1))
        async with world.relays(database, RELAYS, tree=tree), _served(world, tree, database) as (_, port):
            await world.receiver.reset()
            numbers = (port, rate, seconds, world.options.warm_up)
            async with world.script("calls", "bench.paced_load", *map(str, numbers), file) as script:
                calls: dict[str, float] = json.loads(await rest_of(script))
            values = await _times(world, database, calls)
    return latency_figure(values)


async def _times(world: World, database: Database, calls: Mapping[str, float]) -> list[float]:
    """Milliseconds from each call to the arrival of its event. `calls` has the monotonic second of
    each call by the item and its new quantity."""
    end = time.monotonic() + _TAIL_SECONDS
    while True:
        arrivals = await world.receiver.arrivals()
        seen: dict[str, float] = {}
        for row in await SQL.changed_quantities.fetch(database.connection):
            if row["id"] in arrivals:
                seen[row["change"]] = arrivals[row["id"]]
        if calls.keys() <= seen.keys():
            return [(seen[change] - at) * 1000 for change, at in calls.items()]
        if time.monotonic() > end:
            raise TimeoutError(f"{len(calls.keys() - seen.keys())} of {len(calls)} changes did not arrive")
        await asyncio.sleep(0.2)


async def _many(world: World, *, bulk: bool) -> Figure:
    """Seconds for one client to change BULK items."""
    count = world.options.pick(BULK, 50)
    tree = world.trees[0]
    async with world.database(await world.template_of(tree)) as database:
        known = json.loads(await asyncio.to_thread(Path(await seed(world, database, ITEMS)).read_text))
        async with _served(world, tree, database) as (_, port):
            client = await Client.connect("127.0.0.1", port)
            times = []
            for _ in range(3):
                items = random.sample(known["items"], count)
                requests = _bulk(known["tokens"][0], items) if bulk else _singles(known["tokens"][0], items)
                begun = time.monotonic()
                for request in requests:
                    status, body = await client.request(request)
                    if status != 200:
                        raise RuntimeError(f"{status}: {body[:300]!r}")
                times.append(time.monotonic() - begun)
            client.close()
    # The first also prepares the statements.
    return Figure(statistics.median(times[1:]), "s")


def _singles(token: str, items: Sequence[str]) -> list[bytes]:
    return [_request("PUT", f"/items/{item}", token, {"quantity": random.randint(1, 1_000_000)}) for item in items]


def _bulk(token: str, items: Sequence[str]) -> list[bytes]:
    operations = [{"op": "count", "id": item, "quantity": random.randint(1, 1_000_000)} for item in items]
    return [_request("POST", "/items/bulk", token, {"operations": operations})]


def _request(method: str, path: str, token: str, body: Mapping[str, object]) -> bytes:
    content = json.dumps(body).encode()
    return (
        f"{method} /api/v1{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content


def _beside(
    world: World, name: str, figures: Mapping[str, list[Figure]], target: Target | None, *, of: str | None = None
) -> Row:
    """This tree's figures against the other's, or alone."""
    ours = figures[world.trees[0].name]
    if len(world.trees) > 1:
        row = compared(name, figures, world.trees[0].name, world.trees[1].name, target, of=of)
    else:
        unit = ours[0].unit if of is None else UNITS.get(of, "ms")
        value = statistics.median(figure.value if of is None else figure.more[of] for figure in ours)
        row = Row(name, absolute=f"{shown(value)} {unit}", raw={world.trees[0].name: ours})
    return dataclasses.replace(row, cpu="")


async def scenario_calls(world: World) -> list[Row]:
    async def arms(**how: int) -> dict[str, list[Figure]]:
        return await interleave(
            world.options.pairs, {tree.name: partial(_puts, world, tree, **how) for tree in world.trees}
        )

    name = f"PUT /items/:id, {CONNECTIONS} connections, one process"
    alone = await arms()
    beside = await arms(relays=RELAYS)
    hot = await arms(items=1)
    return [
        _beside(world, name, alone, Target("at least", 1.7)),
        _beside(world, f"{name}: the API's CPU a mutation", alone, Target("at most", 0.65), of="api_us"),
        _beside(world, f"{name}: PostgreSQL's CPU a mutation", alone, Target("at most", 0.65), of="pg_us"),
        _beside(world, f"{name}, beside {RELAYS} relays", beside, Target("at least", 1.7)),
        _beside(world, f"{name}, one item", hot, Target("at least", 0.9)),
    ]


async def scenario_call_to_receiver(world: World) -> list[Row]:
    rows = []
    for rate in RATES[:1] if world.options.quick else RATES:
        figures = await interleave(
            world.options.pairs, {tree.name: partial(_until_seen, world, tree, rate) for tree in world.trees}
        )
        for of, target in (("p50", Target("at most", 0.8)), ("p95", None)):
            rows.append(_beside(world, f"call → receiver at {rate}/s, {of}", figures, target, of=of))
    return rows


async def scenario_bulk(world: World) -> list[Row]:
    figures = await interleave(
        world.options.pairs,
        {"single PUTs": partial(_many, world, bulk=False), "one request": partial(_many, world, bulk=True)},
    )
    row = compared(f"{BULK} items changed by one client", figures, "single PUTs", "one request", Target("at least", 8))
    return [dataclasses.replace(row, cpu="")]


async def scenario_workers(world: World) -> list[Row]:
    tree = world.trees[0]
    figures = await interleave(
        world.options.pairs,
        {"two workers": partial(_puts, world, tree, workers=2), "one process": partial(_puts, world, tree)},
    )
    row = compared(
        f"PUT /items/:id, {CONNECTIONS} connections, two workers", figures, "two workers", "one process", None
    )
    return [dataclasses.replace(row, cpu="")]
