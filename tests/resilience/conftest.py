"""Trials, and how often each fault is tried: seldom in the suite, often under `make chaos`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.platform.settings import Settings, load_settings
from tests.support.postgres.throwaway import Throwaway, throwaway_server
from tests.support.trials.trial import FULL, HowOften, StartTrial, trials


@pytest.fixture
def how_often() -> HowOften:
    """`how_often(50, 2)`: 50 under `make chaos`, 2 in the suite."""
    full = os.environ.get(FULL) == "full"
    return lambda often, seldom: often if full else seldom


@pytest.fixture
def start_trial(request: pytest.FixtureRequest, database_url: str, settings: Settings, tmp_path: Path) -> StartTrial:
    """`async with start_trial("kill -9 of a relay") as trial`: on the run's server; ends with the account, which is checked."""
    return trials(request, database_url, settings, tmp_path)


@pytest.fixture
def throwaway(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Throwaway]:
    """A PostgreSQL of the test's own, to be killed; processes that the test starts find it."""
    with throwaway_server(monkeypatch) as server:
        yield server


@pytest.fixture
def start_own_trial(request: pytest.FixtureRequest, throwaway: Throwaway, tmp_path: Path) -> StartTrial:
    """A trial on a server of its own; `through`: the address of what stands before it."""
    return trials(request, throwaway.url, load_settings(), tmp_path)
