"""Ending a delivery that cannot be worked on, by nothing but its ids: whatever else is in its row may be what is wrong."""

from uuid import UUID

from relay.record.order import Order
from relay.record.result import Lease
from service.platform.db import is_of_a_row
from service.platform.logs import get_logger
from service.platform.queries import Connection, load

_log = get_logger(__name__)
_SQL = load("give_up")


async def give_up(
    connection: Connection, webhook_id: UUID, reason: str, lease: Lease | None = None, *, suspects: bool = False
) -> UUID | None:
    """End as failed the delivery of a lease, or the first of the lane that a claim would take (`suspects`: a claim of those).
    Returns its event's id; None if there is none.
    The next of its item, if it stands in an order, becomes due; where that is what fails, it does not."""
    try:
        return await _give_up(connection, webhook_id, reason, lease, suspects, promote=True)
    except Exception as error:
        if not is_of_a_row(error):
            raise
        _log.exception("what follows for its item could not be done", webhook_id=str(webhook_id))
    return await _give_up(connection, webhook_id, reason, lease, suspects, promote=False)


async def _give_up(
    connection: Connection, webhook_id: UUID, reason: str, lease: Lease | None, suspects: bool, *, promote: bool
) -> UUID | None:
    async with connection.transaction():
        ended = await _SQL.give_up.fetchrow(
            connection,
            webhook_id=webhook_id,
            position=None if lease is None else lease.position,
            fence=None if lease is None else lease.fence,
            suspects=suspects,
            reason=reason,
        )
        if ended is None:
            return None
        if promote:
            await (await Order.of(connection, [(webhook_id, ended["item_id"])])).promote()
    event_id: UUID = ended["event_id"]
    return event_id
