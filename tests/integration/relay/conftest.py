"""Database sessions as a relay opens them."""

from collections.abc import AsyncIterator

import pytest

from relay.watch.database import Queues, open_queues


@pytest.fixture
async def queues(database_url: str) -> AsyncIterator[Queues]:
    """The pool that a relay opens."""
    queues = await open_queues(database_url)
    yield queues
    queues.terminate()
