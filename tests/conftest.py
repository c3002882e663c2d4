"""Hooks and fixtures for all tests: the server, databases, settings, relays, receivers, the API,
and programs that may not be installed."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import hypothesis
import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.auth.tokens import Tokens
from service.platform.settings import Settings, load_settings
from service.server.app import make_app
from tests.support.api.caller import Api, SignUp, Token, open_session
from tests.support.database import Connection, create_database, drop_database
from tests.support.environment import SETTINGS, is_setting
from tests.support.postgres.janitor import Janitor
from tests.support.postgres.pgbouncer import PgBouncer, StartPooler
from tests.support.postgres.shared_server import RUN_DIR, TEMPLATE, SharedServer, scratch
from tests.support.programs import SkipUnless
from tests.support.receivers.receiver import Receiver, receiving
from tests.support.relay.processes import Relays
from tests.support.releases import Tree, extract, release_before
from tests.support.trials.account import table

_janitor = pytest.StashKey[Janitor]()

# Hypothesis fails an example that takes 200 ms. On a machine that does something else, any may.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: a test spends half of its time waiting for timers and other processes.
    JOBS=2 takes exactly two."""
    return (os.cpu_count() or 1) * 2


def pytest_configure(config: pytest.Config) -> None:
    # A shell that runs the tests in the background makes them ignore Ctrl-C, and so do all
    # processes that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Only in the process that the user started: the workers of pytest-xdist inherit the
    # environment.
    if not hasattr(config, "workerinput"):
        janitor = Janitor(scratch())
        config.stash[_janitor] = janitor
        os.environ[RUN_DIR] = str(janitor.run_dir)


def pytest_collection_finish() -> None:
    """Modules and thousands of tests stay to the end, so the garbage collector leaves them out.
    Walking them took a tenth of all tests' time."""
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if janitor := config.stash.get(_janitor, None):
        janitor.finish()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the accounts of the trials in tests/resilience as one table."""
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
    """With CI=true no test may be skipped, because all programs are installed there."""
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
    """`skip_unless("node")` is the program's path. If it is not installed, the test is skipped."""
    return SkipUnless()


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The code of the release before this version. The test is skipped where the history is
    missing."""
    return extract(release_before(), tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of the run's server, at its database `postgres`."""
    server = SharedServer(Path(os.environ[RUN_DIR]))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
async def database_url(server_url: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database for this test."""
    url = await create_database(server_url, TEMPLATE)
    yield url
    await drop_database(server_url, url)


@pytest.fixture
async def another_database_url(server_url: str) -> AsyncIterator[str]:
    """The URL of a second database like `database_url`."""
    url = await create_database(server_url, TEMPLATE)
    yield url
    await drop_database(server_url, url)


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """The URL of a fresh database with nothing in it."""
    url = await create_database(server_url, "template1")
    yield url
    await drop_database(server_url, url)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection to the test's database."""
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close(timeout=10)


@pytest.fixture
def start_pooler(skip_unless: SkipUnless) -> Iterator[StartPooler]:
    """`start_pooler(url)` is a PgBouncer in session mode before that database. It ends with the
    test."""
    program = skip_unless("pgbouncer")
    with ExitStack() as poolers:
        yield lambda url, **settings: poolers.enter_context(PgBouncer(program, url, **settings))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment without the settings of the person who runs the tests, and with fixed
    secrets."""
    for name in filter(is_setting, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setenv("JOSSIEDB_DATA_DIR", str(tmp_path))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def settings(environment: None, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the test's database. Processes that the test starts inherit them from the
    environment."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return load_settings()


@pytest.fixture
async def relays(connection: Connection, settings: Settings, tmp_path: Path) -> AsyncIterator[Relays]:
    """Relay processes on the test's database. They end with the test."""
    relays = Relays(tmp_path, connection)
    yield relays
    await relays.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until its `answer` is replaced."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def api(settings: Settings, database_url: str) -> AsyncIterator[Api]:
    """A client of an API that serves the test's database on a port of its own."""
    async with TestClient(TestServer(make_app(settings, database_url))) as client:
        yield client


@pytest.fixture
async def sign_up(settings: Settings, connection: Connection) -> SignUp:
    """`await sign_up("foreman")` is a token of a new user of that role, who has no password.

    It writes nothing to the outbox: the events that a test finds there come from its own requests.
    """
    tokens = Tokens.of(settings)

    async def sign_up(role: str = "worker") -> Token:
        number = await connection.fetchval("select count(*) from users")
        username = f"{role}{number}"
        user_id = await connection.fetchval(
            "insert into users (username, email, full_name, role, password_hash) values ($1, $2, $3, $4, '!') returning id",
            username,
            f"{username}@example.org",
            username.title(),
            role,
        )
        return await open_session(connection, tokens, user_id)

    return sign_up


@pytest.fixture
def node(skip_unless: SkipUnless) -> str:
    """The path of Node's program."""
    return skip_unless("node")
