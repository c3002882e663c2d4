"""A copy of the large template for each test, and the API on it.

`large_database` is its URL. Fixtures that depend on `database_url` (settings, connection, relays)
use the copy here.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.database import create_database, drop_database
from tests.support.large.template import LARGE_TEMPLATE, make_template


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder as large, so that only `make large` runs it."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.large)


@pytest.fixture(scope="session")
def large_template(server_url: str) -> None:
    """The template, made when the first test asks for it. That takes about a minute."""
    make_template(server_url)


@pytest.fixture
async def large_database(server_url: str, large_template: None) -> AsyncIterator[str]:
    """The URL of a database of this test with the rows of rows.sql."""
    url = await create_database(server_url, LARGE_TEMPLATE, "large")
    yield url
    await drop_database(server_url, url)


@pytest.fixture
def database_url(large_database: str) -> str:
    return large_database
