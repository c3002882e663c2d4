"""What all tests share: databases, settings, and what to do about programs that are not installed."""

import gc
import os
import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from service.platform.settings import Settings, load_settings
from tests.janitor import Janitor
from tests.pgbouncer import PgBouncer
from tests.relays import Receiver, Relays, receiving
from tests.resilience.account import table
from tests.server import RUN_DIR, TEMPLATE, SharedServer, scratch, with_database
from tests.support.releases import Tree, extract, release_before

JWT_SECRET = "a-fixed-secret-for-tests-of-enough-length"
WEBHOOK_SECRET_KEYS = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
_PREFIXES = ("JOSSIEDB_", "JWT_", "WEBHOOK_", "RELAY_")
_janitor = pytest.StashKey[Janitor]()
StartPooler = Callable[..., PgBouncer]


def pytest_xdist_auto_num_workers() -> int:
    """Three for two cores: a test waits for timers and other processes for half of its time. JOBS=2 takes just so many."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_configure(config: pytest.Config) -> None:
    # A shell that runs the tests in the background has them ignore Ctrl-C, and so everything that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Only in the process that the user started; the workers of pytest-xdist inherit the environment.
    if not hasattr(config, "workerinput"):
        janitor = Janitor(scratch())
        config.stash[_janitor] = janitor
        os.environ[RUN_DIR] = str(janitor.run_dir)


def pytest_collection_finish() -> None:
    """Modules and thousands of tests stay to the end. Walking them took a tenth of all tests' time."""
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if janitor := config.stash.get(_janitor, None):
        janitor.finish()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the trials of tests/resilience have counted, as one table."""
    accounts = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "fault"
    ]
    if accounts:
        terminalreporter.section("faults")
        for line in table(accounts):
            terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI nothing may be skipped: there, what a test needs is installed."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: with CI=true nothing may be skipped ({reason})"


@pytest.fixture
def skip_unless() -> "SkipUnless":
    """`skip_unless("node")` is the program's path; the test is skipped where it is not installed."""
    return SkipUnless()


class SkipUnless:
    def __call__(self, program: str) -> str:
        # Debian's servers are in directories that only root has in its PATH.
        path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if path is None:
            pytest.skip(f"{program} is not installed")
        return path


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The code of the release before this version. The test is skipped where the history is missing."""
    return extract(release_before(), tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The run's server, at its database `postgres`."""
    server = SharedServer(Path(os.environ[RUN_DIR]))
    server.start()
    yield server.url
    server.stop()


async def create_database(server_url: str, template: str) -> str:
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"create database {name} template {template} strategy file_copy")
    finally:
        await admin.close()
    return with_database(server_url, name)


async def drop_database(server_url: str, url: str) -> None:
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"drop database {url.partition('@/')[2].partition('?')[0]} with (force)")
    finally:
        await admin.close()


@pytest.fixture
async def database_url(server_url: str) -> AsyncIterator[str]:
    """A fresh database, migrated, of this test's own."""
    url = await create_database(server_url, TEMPLATE)
    yield url
    await drop_database(server_url, url)


@pytest.fixture
async def another_database_url(server_url: str) -> AsyncIterator[str]:
    """A second one beside `database_url`."""
    url = await create_database(server_url, TEMPLATE)
    yield url
    await drop_database(server_url, url)


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A fresh database with nothing in it."""
    url = await create_database(server_url, "template1")
    yield url
    await drop_database(server_url, url)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close(timeout=10)


@pytest.fixture
def start_pooler(skip_unless: SkipUnless) -> Iterator[StartPooler]:
    """`start_pooler(url)` is a PgBouncer in session mode before that database. It ends with the test."""
    program = skip_unless("pgbouncer")
    with ExitStack() as poolers:
        yield lambda url, **settings: poolers.enter_context(PgBouncer(program, url, **settings))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment, without the settings of the one who runs the tests, and with fixed secrets."""
    for name in list(os.environ):
        if name == "DATABASE_URL" or name == "REGISTRATION" or (name.startswith(_PREFIXES) and "_TEST_" not in name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("JOSSIEDB_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    monkeypatch.setenv("WEBHOOK_SECRET_KEYS", WEBHOOK_SECRET_KEYS)
    monkeypatch.setenv("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128")


@pytest.fixture
def settings(environment: None, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings on the test's database; processes that the test starts inherit the same from the environment."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return load_settings()


@pytest.fixture
async def relays(
    connection: "asyncpg.Connection[asyncpg.Record]", settings: Settings, tmp_path: Path
) -> AsyncIterator[Relays]:
    """Relay processes on the test's database, ended with the test."""
    relays = Relays(tmp_path, connection)
    yield relays
    await relays.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until its `answer` is replaced."""
    async with receiving() as receiver:
        yield receiver
