"""Reading the transfers that a user may see. No read holds a transaction."""

from uuid import UUID

from service.api.call import Principal
from service.api.counts import Total, count, reached
from service.platform.db import Pool
from service.platform.errors import NotFound
from service.platform.queries import load
from service.transfers import rules
from service.transfers.models import TransferQuery
from service.transfers.rows import transfer_from_row
from service.transfers.rules import DECIDERS, FOREMAN, Transfer

_SQL = load("transfers")


async def list_transfers(pool: Pool, user: Principal, query: TransferQuery) -> tuple[list[Transfer], Total]:
    """A page of the transfers that `query` matches, and how many match."""
    filters = {
        "status": query.status,
        "item_id": query.item_id,
        "location_id": query.location_id,
        "own_id": None if user.role in DECIDERS else user.user_id,
        "foreman_id": user.user_id if user.role == FOREMAN else None,
    }
    async with pool.acquire() as connection:
        rows = await _SQL.list_visible.fetch(
            connection, after=query.after, skip=query.skip, limit=query.limit, **filters
        )
        total = await count(connection, _SQL.count_visible, seen=reached(query.skip, len(rows)), **filters)
    return [transfer_from_row(row) for row in rows], total


async def get_transfer(pool: Pool, user: Principal, transfer_id: UUID) -> Transfer:
    async with pool.acquire() as connection:
        row = await _SQL.get.fetchrow(connection, id=transfer_id, user_id=user.user_id)
    if row is None:
        raise NotFound("no transfer has this id")
    transfer = transfer_from_row(row)
    rules.check_reader(user.role, user.user_id, transfer, assigned=row["assigned"])
    return transfer
