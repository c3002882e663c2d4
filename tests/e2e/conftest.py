"""The whole system as processes: an API on a free port and two relays, on a database of the test's
own, and Node where it is installed."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from service.platform.settings import Settings
from tests.support.command_line import create_user, served_address
from tests.support.e2e import NODE_DIR, Api, Reserialise
from tests.support.paths import ROOT
from tests.support.relay.processes import Relays
from tests.support.waiting import PATIENCE, until

ADMIN, PASSWORD = "admin", "a-password-for-tests"


@pytest.fixture
async def api(settings: Settings, tmp_path: Path) -> AsyncIterator[Api]:
    """`jossiedb serve` on a free port. Its admin was made by `jossiedb users create` and has signed
    in."""
    await asyncio.to_thread(create_user, ADMIN, "admin", PASSWORD)
    log = tmp_path / "api.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve", "--port", "0", stdout=file, stderr=file
        )
    try:

        async def ready() -> str:
            assert process.returncode is None, log.read_text()
            return served_address(log)

        address = await until(ready, "the API is ready")
        async with aiohttp.ClientSession() as http:
            login = {"username": ADMIN, "password": PASSWORD}
            async with http.post(f"{address}/api/v1/auth/login", json=login) as response:
                assert response.status == 200, await response.text()
                token = (await response.json())["token"]
            yield Api(address, token, http, process)
    finally:
        if process.returncode is None:  # a test may have killed it
            process.terminate()
            assert await asyncio.wait_for(process.wait(), PATIENCE) == 0, log.read_text()


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
