"""`jossiedb serve --workers`: several processes on one port."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from service.platform.settings import Settings
from tests.support.command_line import refusal, run, serving
from tests.support.database import Connection
from tests.support.waiting import until


def _workers(parent: int) -> set[int]:
    """The children of a process."""
    return {int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}


async def _healthy(address: str) -> bool:
    try:
        async with aiohttp.request("GET", f"{address}/api/v1/health") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def test_several_processes_answer_on_one_port_and_end_together(
    settings: Settings, connection: Connection
) -> None:
    async with serving("--workers", "2") as server:
        assert (await server.says("ready"))["address"] == server.address
        workers = _workers(server.process.pid)
        assert len(workers) == 2
        assert all([await _healthy(server.address) for _ in range(20)])
        assert await server.end() == 0
    for pid in workers:
        assert not Path(f"/proc/{pid}").exists()


async def test_a_worker_that_dies_is_replaced_and_keeps_its_connections(
    settings: Settings, connection: Connection
) -> None:
    async with serving("--workers", "2") as server:
        await server.says("ready")
        victim, other = sorted(_workers(server.process.pid))
        os.kill(victim, signal.SIGKILL)
        # Half of these connections are to the worker that is being started.
        answers = await asyncio.gather(*(_healthy(server.address) for _ in range(20)))
        assert all(answers)
        workers = _workers(server.process.pid)
        assert other in workers
        assert victim not in workers
        assert await server.end() == 0


async def test_workers_end_with_the_process_that_started_them(settings: Settings, connection: Connection) -> None:
    async with serving("--workers", "2") as server:
        await server.says("ready")
        workers = _workers(server.process.pid)
        server.process.kill()
        await server.process.wait()

        async def ended() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in workers)

        await until(ended, "the workers end")


async def test_a_port_that_is_in_use_is_refused_even_by_other_workers(
    settings: Settings, connection: Connection
) -> None:
    async with serving("--workers", "2") as server:
        port = server.address.rpartition(":")[2]
        for workers in ("1", "2"):
            assert "in use" in await refusal("serve", "--workers", workers, "--port", port)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "in use" in await refusal("serve", "--workers", "2", "--port", port)


async def test_workers_that_cannot_start_end_the_command(
    environment: None, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    code, _, errors = await run("serve", "--workers", "2", "--port", "0")
    assert code == 2
    assert "is not migrated" in errors
    assert "ended with exit code 2" in errors.splitlines()[-1]


async def test_a_socket_that_was_given_goes_with_one_worker(settings: Settings, connection: Connection) -> None:
    assert "--fd goes with one worker only" in await refusal("serve", "--workers", "2", "--fd", "3")
