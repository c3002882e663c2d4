"""Who this relay is: what its row in `relays` says, apart from its load."""

import asyncio
from datetime import datetime
from uuid import UUID

from service.platform.ids import new_id


class Identity:
    """Shared by the parts of a relay, which are this relay and no other only as long as its row is
    there.

    Presence sets `relay_id` and `listed`, election the rest.
    """

    def __init__(self, relay_id: UUID | None = None) -> None:
        # A new one after a peer has removed this relay, or an epoch has begun. Until it is listed,
        # nothing is leased to it.
        self.relay_id = relay_id or new_id()
        # How many relays there are, this one included, as of its last beat.
        self.listed = 1
        # Set while this relay leads.
        self.leads = asyncio.Event()
        # The backend of the LISTEN connection, and how many such connections there were. A peer
        # that removes this relay ends that backend, which releases the leader's locks.
        self.listen_pid: int | None = None
        self.listen_start: datetime | None = None
        self.listen_number = 0
        # How often the leader's poll found what nobody had rung for.
        self.poll_wakes = 0
