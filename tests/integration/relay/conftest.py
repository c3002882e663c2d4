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


@pytest.fixture
async def pool(queues: Queues) -> Queues:
    """In place of the service's pool. A relay's settings decide how a statement finds its rows, and
    so in which order it locks them."""
    return queues
