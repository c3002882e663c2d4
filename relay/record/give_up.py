"""Ends a delivery that cannot be worked on. It uses only the delivery's ids, because anything else
in the row may be the fault."""

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
    """Ends a delivery as failed: the delivery of `lease`. Without a lease, it is the delivery that
    a claim of this lane would take first; with `suspects`, a claim of suspects.

    If the delivery stands in an order, the next one of its item becomes due. If making it due
    fails, only the end is written. Returns the id of the delivery's event, or None if there is no
    such delivery."""
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
