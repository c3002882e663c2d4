"""`jossiedb demo` counts correctly, ends cleanly however it is ended, and leaves no process
running."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from service.platform.settings import Settings
from tests.support.postgres.shared_server import scratch
from tests.support.programs import SkipUnless
from tests.support.waiting import PATIENCE, until

MARK = "JOSSIEDB_TEST_MARK"
DELIVERY = re.compile(
    r"→ (?:everything|purchasing) +attempt (?P<attempt>\d+) +[\d.]+ ms +signatures verified +(?P<answer>.*)"
)


class Demo:
    """A running `python -m service demo`, and all processes that it started. They carry a mark in
    their environment."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str) -> None:
        self.process = process
        self.lines: list[str] = []
        self._mark = f"{MARK}={mark}".encode()

    async def read_until(self, done: Callable[[str], object]) -> str:
        """Reads lines up to the first for which `done` holds."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line.rstrip("\n"))
                if done(self.lines[-1]):
                    return self.lines[-1]
        raise AssertionError("the demo ended:\n" + "\n".join(self.lines))

    async def ended(self) -> int:
        assert self.process.stdout is not None
        async with asyncio.timeout(2 * PATIENCE):
            self.lines += (await self.process.stdout.read()).decode().splitlines()
            return await self.process.wait()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def summary(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.lines[-8:])

    async def nothing_runs(self) -> bool:
        return not self.running()

    def running(self) -> list[Path]:
        """The processes that carry the mark, including PostgreSQL's."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(process)
            except OSError:
                continue  # it has just ended
        return found


@asynccontextmanager
async def demo(*arguments: str, port: int = 0) -> AsyncIterator[Demo]:
    mark = uuid.uuid4().hex
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "demo", "--port", str(port), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, MARK: mark},
    )  # fmt: skip
    running = Demo(process, mark)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await until(running.nothing_runs, "all that the demo started has ended")


@pytest.fixture
def data_dir(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory that PostgreSQL's user may enter when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="jossiedb-demo-", dir=scratch()))
    path.chmod(0o755)
    monkeypatch.setenv("JOSSIEDB_DATA_DIR", str(path / "data"))
    yield path / "data"
    shutil.rmtree(path)


def check_counts(running: Demo) -> dict[str, str]:
    """Nothing is lost, whichever process was killed meanwhile."""
    summary = running.summary()
    assert int(summary["delivered"]) == int(summary["deliveries owed"]) > 0
    assert (summary["lost"], summary["signature failures"]) == ("0", "0")
    return summary


def check_summary(running: Demo) -> None:
    """Compares the summary with the lines shown before it: each line is one request that the
    receiver got."""
    shown = [match for line in running.lines if (match := DELIVERY.search(line))]
    delivered = [match for match in shown if match["answer"].startswith("answered 200")]
    summary = check_counts(running)
    assert int(summary["events written"]) > 0
    assert int(summary["delivered"]) == len(delivered) == int(summary["deliveries owed"])
    assert int(summary["retried"]) == len({match.string for match in shown if match["attempt"] == "2"}) > 0


async def test_it_ends_by_itself_with_a_summary_of_what_was_delivered(data_dir: Path) -> None:
    async with demo("--for", "8s") as running:
        assert await running.ended() == 0, running.output
        check_summary(running)
        assert not running.running()
    assert sorted(log.name for log in (data_dir / "logs").iterdir()) == [
        "api.log", "receiver.log", "relay-1.log", "relay-2.log",
    ]  # fmt: skip
    assert not (data_dir / "demo_receiver_secrets").exists()


async def test_what_it_says_to_try_next_works_and_ctrl_c_ends_it(
    settings: Settings, connection: "asyncpg.Connection[asyncpg.Record]", skip_unless: SkipUnless
) -> None:
    skip_unless("curl")
    async with demo() as running:
        await running.read_until(lambda line: '-d \'{"quantity"' in line)
        start = next(number for number, line in enumerate(running.lines) if line.startswith("TOKEN="))
        script = "\n".join(running.lines[start:])
        shell = await asyncio.create_subprocess_exec("bash", "-ec", script, stdout=asyncio.subprocess.PIPE)
        answer, _ = await shell.communicate()
        assert shell.returncode == 0
        assert b'"quantity":' in answer
        await running.read_until(lambda line: "low-stock-alert" in line and DELIVERY.search(line))
        await running.read_until(lambda line: "attempt 2" in line)
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 0, running.output
        assert "Traceback" not in running.output
        check_summary(running)
        assert not running.running()
    written = await connection.fetchval("select count(*) from events where deliveries > 0")
    assert int(running.summary()["events written"]) == written


async def test_ctrl_c_during_the_start_ends_it(settings: Settings) -> None:
    async with demo() as running:
        await until(lambda: started(running), "the first child runs")
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 130
        assert "Traceback" not in running.output
        assert not running.running()


async def started(running: Demo) -> bool:
    return len(running.running()) > 1


async def test_a_killed_demo_leaves_nothing_running_and_the_next_one_starts_clean(settings: Settings) -> None:
    async with demo() as running:
        await running.read_until(DELIVERY.search)
        running.process.kill()
        await until(running.nothing_runs, "its processes end with it")
    async with demo("--for", "3s") as again:
        assert await again.ended() == 0, again.output
        assert again.lines[0] == "deleted 2 webhooks of an earlier demo"
        assert again.summary()["lost"] == "0"


async def test_a_receiver_that_dies_ends_it_with_the_end_of_its_log(settings: Settings) -> None:
    async with demo() as running:
        await running.read_until(DELIVERY.search)
        os.kill(process_of(running, "examples/receivers/python_stdlib.py"), signal.SIGKILL)
        assert await running.ended() == 1
        assert re.search(
            r"receiver ended unexpectedly, with exit code -9; the end of .*/receiver\.log:", running.output
        )
        assert "Traceback" not in running.output
        assert not running.running()


def process_of(running: Demo, argument: str) -> int:
    """The id of a process that has this argument."""
    return int(next(each for each in running.running() if argument in (each / "cmdline").read_text()).name)


async def test_the_relay_that_it_offers_to_kill_is_succeeded_and_started_again(settings: Settings) -> None:
    async with demo() as running:
        offer = await running.read_until(lambda line: "kill -9" in line)
        await running.read_until(DELIVERY.search)
        pid = int(offer.rpartition(" ")[2])
        os.kill(pid, signal.SIGKILL)
        line = await running.read_until(lambda line: "was killed" in line)
        assert re.search(
            r"relay-\d was killed; (it held no lease|relay-\d took over \d+ leases?).* and relay-\d leads now, after [\d.]+ s; "
            r"relay-\d is started again$",
            line,
        )
        await running.read_until(DELIVERY.search)
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 0, running.output
        check_counts(running)


async def test_a_relay_that_is_stopped_is_started_again_and_so_is_the_api(settings: Settings) -> None:
    async with demo() as running:
        await running.read_until(DELIVERY.search)
        os.kill(process_of(running, "relay"), signal.SIGTERM)
        await running.read_until(lambda line: re.search(r"relay-\d was stopped; it left no lease behind", line))
        before = process_of(running, "serve")
        os.kill(before, signal.SIGKILL)
        await running.read_until(lambda line: "api was killed and is started again" in line)
        await running.read_until(DELIVERY.search)
        assert process_of(running, "serve") != before
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 0, running.output
        check_counts(running)


async def test_a_second_demo_on_the_same_port_or_database_leaves_the_first_alone(
    settings: Settings, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with demo() as running:
        where = await running.read_until(lambda line: line.startswith("The API is at"))
        await running.read_until(DELIVERY.search)
        port = int(where.partition("127.0.0.1:")[2].partition("/")[0])
        async with demo(port=port) as second:
            assert await second.ended() == 2
            assert f"port {port} cannot be listened on (address already in use)" in second.output
            assert len(second.lines) == 1
        async with demo() as second:
            assert await second.ended() == 2
            assert "another demo runs on this database" in second.output
        assert await connection.fetchval("select count(*) from webhooks where deleted_at is null") == 2
        await running.read_until(DELIVERY.search)


async def test_a_lost_delivery_is_counted_and_makes_it_fail(
    settings: Settings, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with demo("--for", "4s") as running:
        await running.read_until(DELIVERY.search)
        # An event whose type is in no subscription, although one webhook asked for every type.
        await connection.execute("""insert into outbox (type, data) values ('never-heard-of', '{"name":"x"}')""")
        assert await running.ended() == 1
        assert running.summary()["lost"] == "1"


async def test_a_database_with_other_users_is_left_alone(
    settings: Settings, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await connection.execute(
        "insert into users (username, email, full_name, password_hash) values ('ada', 'ada@example.org', 'Ada', '!')"
    )
    async with demo() as running:
        assert await running.ended() == 2
        assert running.lines == [
            "jossiedb: this database has users that are not the demo's; give the demo a database of its own"
        ]
    assert await connection.fetchval("select count(*) from users") == 1


async def test_a_port_in_use_is_said_in_one_line(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with demo(port=port) as running:
            assert await running.ended() == 2
            (line,) = running.lines
            assert f"port {port} " in line
