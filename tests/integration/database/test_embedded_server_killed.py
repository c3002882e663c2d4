"""An embedded server that is killed while processes hold it."""

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from service.platform.embedded.keep_up import kept_up
from service.platform.lifecycle import database
from service.platform.settings import load_settings
from tests.support.postgres.embedded import embedded, postmaster, query, server_runs
from tests.support.waiting import until


async def answers(url: str) -> None:
    async def condition() -> bool:
        try:
            return await query(url, "select 1") == 1
        except (OSError, asyncpg.PostgresError):
            return False

    await until(condition, "the server answers again")


def kill(data_dir: Path) -> None:
    os.kill(postmaster(data_dir), signal.SIGKILL)


async def test_a_killed_server_is_started_again_once_by_one_of_its_holders(data_dir: Path) -> None:
    with capture_logs() as logged:
        async with AsyncExitStack() as stack:
            holders = [embedded(data_dir) for _ in range(3)]
            urls = [await stack.enter_async_context(holder) for holder in holders]
            for holder in holders:
                await stack.enter_async_context(kept_up(holder))
            await query(urls[0], "create table kept as select 7 as seven")
            kill(data_dir)

            async def is_logged() -> bool:
                return bool(logged)

            await until(is_logged, "it is logged")
            for url in urls:
                await answers(url)
                assert await query(url, "select seven from kept") == 7
        assert not server_runs(data_dir)
    assert [entry["event"] for entry in logged] == ["the embedded PostgreSQL had ended; it was started again"]
    assert (data_dir / "postgres.log").read_text().count("starting PostgreSQL") == 2


async def test_a_server_that_is_killed_again_at_once_stays_down_and_that_is_said(data_dir: Path) -> None:
    with capture_logs() as logged:
        server = embedded(data_dir)
        async with server, kept_up(server):
            for count in (1, 2):
                kill(data_dir)

                async def is_logged(count: int = count) -> bool:
                    return len(logged) == count

                await until(is_logged, "it is logged")
            assert not server_runs(data_dir)
    assert [entry["log_level"] for entry in logged] == ["warning", "error"]


async def test_who_leaves_as_the_server_is_started_again_leaves_nothing_behind(data_dir: Path) -> None:
    server = embedded(data_dir)
    async with server, kept_up(server):
        kill(data_dir)

        async def ended() -> bool:
            return not server.alive()

        await until(ended, "the server has ended")
    assert not server_runs(data_dir)


async def test_processes_keep_up_the_server_that_they_hold(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("JOSSIEDB_DATA_DIR", str(data_dir))
    async with database(load_settings()) as url:
        kill(data_dir)
        await answers(url)
    assert not server_runs(data_dir)
