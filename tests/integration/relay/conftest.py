"""The sessions of a relay."""

from collections.abc import AsyncIterator

import pytest

from relay.watch.database import Queues, open_queues


@pytest.fixture
async def queues(database_url: str) -> AsyncIterator[Queues]:
    """The pool as a relay opens it."""
    queues = await open_queues(database_url)
    yield queues
    queues.terminate()
