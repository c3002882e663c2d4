"""The page at /docs, in a browser."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.events.catalogue import CATALOGUE
from service.server.app import ROUTES
from tests.support.api_process import Api
from tests.support.programs import SkipUnless
from tests.support.waiting import PATIENCE

# The page's virtual time, which passes as fast as the page does its work.
BUDGET_MS = 20_000


@pytest.fixture
def chromium(skip_unless: SkipUnless) -> str:
    return skip_unless("chromium")


async def _dump(program: str, url: str, net_log: Path, profile: Path) -> tuple[str, str]:
    """The page's elements after its work is done, and the lines on its console. It can reach only
    127.0.0.1."""
    options: Sequence[str] = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        f"--log-net-log={net_log}",
        f"--virtual-time-budget={BUDGET_MS}",
        "--dump-dom",
    )
    process = await asyncio.create_subprocess_exec(
        program, *options, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        elements, log = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = [line for line in log.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return elements.decode(), "\n".join(lines)


def _asked_for(net_log: Path, origin: str) -> set[str]:
    """The addresses that the page at `origin` requested. The browser itself requests others."""
    events = json.loads(net_log.read_text())["events"]
    parameters = [event.get("params", {}) for event in events]
    return {found["url"] for found in parameters if found.get("initiator") == origin and "url" in found}


async def test_the_page_shows_every_route_and_event_and_asks_no_other_host(
    api: Api, chromium: str, tmp_path: Path
) -> None:
    elements, console = await _dump(chromium, f"{api.address}/docs", tmp_path / "net.json", tmp_path / "profile")
    for name in {route.path for route in ROUTES} | set(CATALOGUE):
        assert f'data-path="{name}"' in elements, elements[:2000]
    assert console == ""
    asked = _asked_for(tmp_path / "net.json", api.address)
    assert f"{api.address}/api/v1/openapi.json" in asked
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(api.address).netloc}
