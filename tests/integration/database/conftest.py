"""Directories for embedded servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres.embedded import data_directory


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """The directory of an embedded server that this test starts."""
    with data_directory() as directory:
        yield directory
