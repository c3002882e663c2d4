"""Reading the checkouts that a user may see. No read holds a transaction."""

from uuid import UUID

from service.api.call import Principal
from service.api.counts import Total, count, reached
from service.api.slices import in_slices
from service.checkouts import rules
from service.checkouts.models import CheckoutQuery
from service.checkouts.rows import checkout_from_row
from service.checkouts.rules import ADMIN, FOREMAN, SUPERVISOR, Checkout
from service.platform.db import Pool
from service.platform.errors import NotFound
from service.platform.queries import load

_SQL = load("checkouts")


async def list_checkouts(pool: Pool, user: Principal, query: CheckoutQuery) -> tuple[list[Checkout], Total]:
    """A page of the checkouts that `query` matches, and how many match."""
    by_status = query.status == "overdue"
    overdue = True if by_status else None if query.overdue is None else query.overdue == "true"
    filters = {
        "item_id": query.item_id,
        "user_id": query.user_id,
        "status": None if by_status else query.status,
        "overdue": overdue,
        "own_id": None if user.role in (ADMIN, SUPERVISOR) else user.user_id,
        "foreman_id": user.user_id if user.role == FOREMAN else None,
    }
    async with pool.acquire() as connection:
        rows = await _SQL.list_visible.fetch(
            connection, after=query.after, skip=query.skip, limit=query.limit, **filters
        )
        total = await count(connection, _SQL.count_visible, seen=reached(query.skip, len(rows)), **filters)
    return await in_slices(rows, checkout_from_row), total


async def get_checkout(pool: Pool, user: Principal, checkout_id: UUID) -> Checkout:
    async with pool.acquire() as connection:
        row = await _SQL.get.fetchrow(connection, id=checkout_id)
    if row is None:
        raise NotFound("no checkout has this id")
    checkout = checkout_from_row(row)
    rules.check_readable(user.role, user.user_id, checkout)
    return checkout
