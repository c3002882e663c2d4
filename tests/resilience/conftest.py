"""Trials, and how often each fault is tried: seldom in the suite, often under `make chaos`."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from service.platform.settings import Settings, load_settings
from tests.support.postgres.throwaway import Throwaway
from tests.support.trials.trial import Trial, trial

FULL = "JOSSIEDB_TEST_FAULTS"
StartTrial = Callable[..., AbstractAsyncContextManager[Trial]]
HowOften = Callable[[int, int], int]


@pytest.fixture
def how_often() -> HowOften:
    """`how_often(50, 2)`: 50 under `make chaos`, 2 in the suite."""
    full = os.environ.get(FULL) == "full"
    return lambda often, seldom: often if full else seldom


def trials(request: pytest.FixtureRequest, url: str, settings: Settings, directory: Path) -> StartTrial:
    """Trials on this database; each ends with the account, which is checked."""

    @asynccontextmanager
    async def start(fault: str, *, through: str = url, **options: int) -> AsyncIterator[Trial]:
        async with trial(fault, through, settings, directory, **options) as running:
            yield running
            account = await running.account()
            request.node.user_properties.append(("fault", asdict(account)))
            account.check(may_repeat=running.may_repeat)

    return start


@pytest.fixture
def start_trial(request: pytest.FixtureRequest, database_url: str, settings: Settings, tmp_path: Path) -> StartTrial:
    """`async with start_trial("kill -9 of a relay") as trial`: on the run's server; ends with the account, which is checked."""
    return trials(request, database_url, settings, tmp_path)


@pytest.fixture
def throwaway(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Throwaway]:
    """A PostgreSQL of the test's own, to be killed; processes that the test starts find it."""
    cluster = Throwaway()
    try:
        monkeypatch.setenv("DATABASE_URL", cluster.start())
        cluster.migrate()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def start_own_trial(request: pytest.FixtureRequest, throwaway: Throwaway, tmp_path: Path) -> StartTrial:
    """A trial on a server of its own; `through`: the address of what stands before it."""
    return trials(request, throwaway.url, load_settings(), tmp_path)
