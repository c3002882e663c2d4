"""The databases, load and templates that the benchmarks' scenarios use, with real processes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.database import Database
from bench.meter import under_load
from bench.world import Options, World, world
from tests.support.postgres.janitor import Janitor

# All tests here share one server, because starting it takes longer than they do.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything() -> AsyncIterator[World]:
    janitor = Janitor()
    try:
        async with world(Options(pairs=1, quick=True), janitor.run_dir) as everything:
            yield everything
    finally:
        janitor.finish()


async def test_each_run_begins_with_what_was_filled_once(everything: World) -> None:
    fills = 0

    async def fill(database: Database) -> None:
        nonlocal fills
        fills += 1
        await database.write_events(3)

    async with everything.template(fill) as template:
        for _ in range(2):
            async with everything.database(template) as database:
                assert await database.connection.fetchval("select count(*) from outbox") == 3
                await database.write_events(1)
    assert fills == 1


async def test_scripts_under_load_are_measured_side_by_side(everything: World) -> None:
    command = ["bench.load", str(everything.receiver.port), "2", "0.5", "0.1"]
    printed, used = await under_load(everything, [], 0.5, command, command)
    answered = sum(each["requests"] for each in printed)
    assert all(each["requests"] for each in printed)
    # The events of the warm-up arrived, and do not count.
    assert await everything.receiver.count() > answered
    assert used.receiver > 0


async def test_a_script_that_breaks_is_an_error_that_says_why(everything: World) -> None:
    with pytest.raises(RuntimeError, match="ConnectionRefusedError"):
        await everything.output("bench.load", "1", "1", "0.1", "0.1")
