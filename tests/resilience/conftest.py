"""Trials, and the number of times for each fault: few in the suite, many in `make chaos`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.platform.settings import Settings, load_settings
from tests.support.postgres.throwaway import Throwaway, throwaway_server
from tests.support.trials.trial import FULL, HowOften, StartTrial, trials


@pytest.fixture
def how_often() -> HowOften:
    """`how_often(50, 2)`: 50 in `make chaos`, 2 in the suite."""
    full = os.environ.get(FULL) == "full"
    return lambda often, seldom: often if full else seldom


@pytest.fixture
def start_trial(request: pytest.FixtureRequest, database_url: str, settings: Settings, tmp_path: Path) -> StartTrial:
    """`async with start_trial("kill -9 of a relay") as trial` uses the run's server. At its end the
    account is checked."""
    return trials(request, database_url, settings, tmp_path)


@pytest.fixture
def throwaway(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Throwaway]:
    """A PostgreSQL of this test, which may be killed. Processes that the test starts find it."""
    with throwaway_server(monkeypatch) as server:
        yield server


@pytest.fixture
def start_own_trial(request: pytest.FixtureRequest, throwaway: Throwaway, tmp_path: Path) -> StartTrial:
    """Starts trials on a server of their own. `through` is the address of a proxy before it."""
    return trials(request, throwaway.url, load_settings(), tmp_path)
