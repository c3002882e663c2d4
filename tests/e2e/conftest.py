"""The whole system as processes: an API on a free port and two relays, on a database of the test's
own, and Node where it is installed."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from service.platform.settings import Settings
from tests.support.api_process import ADMIN, PASSWORD, Api, serving
from tests.support.command_line import COMMAND, create_user
from tests.support.paths import ROOT
from tests.support.programs import NODE_DIR, Reserialise
from tests.support.relay.processes import Relays


@pytest.fixture
async def api(settings: Settings, tmp_path: Path) -> AsyncIterator[Api]:
    """`jossiedb serve` on a free port. Its admin was made by `jossiedb users create` and has signed
    in."""
    await asyncio.to_thread(create_user, ADMIN, "admin", PASSWORD)
    async with serving(tmp_path / "api.log", *COMMAND) as api:
        yield api


@pytest.fixture
async def relays(
    settings: Settings, tmp_path: Path, connection: "asyncpg.Connection[asyncpg.Record]"
) -> AsyncIterator[Relays]:
    """Two relay processes that are ready."""
    running = Relays(tmp_path, connection)
    try:
        await running.start(2)
        yield running
    finally:
        await running.stop()


@pytest.fixture
def standard_webhooks(node: str) -> None:
    """The npm package standardwebhooks, as programs in NODE_DIR find it. No test installs it,
    because no test needs the internet."""
    found = subprocess.run(
        [node, "-e", "require.resolve('standardwebhooks')"], cwd=NODE_DIR, capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip(f"npm's standardwebhooks is not installed; run: npm ci --prefix {NODE_DIR.relative_to(ROOT)}")


@pytest.fixture
def reserialise(node: str) -> Iterator["Reserialise"]:
    """One Node process for all texts of a test."""
    with subprocess.Popen(
        [node, NODE_DIR / "reserialise.js"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Reserialise(process)
        assert process.stdin is not None
        process.stdin.close()
