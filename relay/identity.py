"""The identity of this relay: what its row in `relays` says, apart from its load."""

import asyncio
from datetime import datetime
from uuid import UUID

from service.platform.ids import new_id


class Identity:
    """Shared by the parts of a relay. A relay keeps its id only as long as its row is there: after
    a peer has removed the row, the relay goes on under a new id.

    Presence sets `relay_id` and `listed`. Election sets the rest.
    """

    def __init__(self, relay_id: UUID | None = None) -> None:
        # It is replaced after a peer has removed this relay, or after an epoch has begun. Nothing
        # is leased to the relay until its row has been written under the new id.
        self.relay_id = relay_id or new_id()
        # The number of relays at this relay's last beat, this one included.
        self.listed = 1
        # Set while this relay leads.
        self.leads = asyncio.Event()
        # The backend of the LISTEN connection, and how many such connections there have been. A
        # peer that removes this relay ends that backend, which releases the leader's locks.
        self.listen_pid: int | None = None
        self.listen_start: datetime | None = None
        self.listen_number = 0
        # How often the leader's poll found something that nobody had rung for.
        self.poll_wakes = 0
