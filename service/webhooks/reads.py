"""Reading the webhooks that a user manages. No read holds a transaction."""

from uuid import UUID

import asyncpg

from service.api.call import Principal
from service.api.counts import Total, count, reached
from service.api.slices import in_slices
from service.platform.db import Pool
from service.platform.queries import load
from service.platform.vault import Vault
from service.webhooks import order, shapes
from service.webhooks.access import open_headers, own
from service.webhooks.bodies import ListQuery

_SQL = load("webhooks")


async def list_webhooks(pool: Pool, user: Principal, query: ListQuery) -> tuple[list[shapes.Summary], Total | None]:
    """All webhooks that the user manages. If `query` asks for a page, that page of them, and how
    many there are in all."""
    active = None if query.active is None else query.active == "true"
    page = query.page
    wanted = {"active": active, "skip": page.skip if page else 0, "limit": page.limit if page else None}
    owner_id = None if user.is_admin else user.user_id
    total = None
    async with pool.acquire() as connection:
        if owner_id is None:
            rows = await _SQL.list_all.fetch(connection, **wanted)
        else:
            rows = await _SQL.list_own.fetch(connection, owner_id=owner_id, **wanted)
        ids = [row["id"] for row in rows]
        counted = {row["webhook_id"]: row for row in await _SQL.statistics.fetch(connection, ids=ids)}
        lanes = {row["webhook_id"]: row for row in await _SQL.health.fetch(connection, ids=ids)}
        if page is not None:
            seen = reached(page.skip, len(rows))
            total = await count(connection, _SQL.count_listed, seen=seen, owner_id=owner_id, active=active)

    def shown(row: asyncpg.Record) -> shapes.Summary:
        return shapes.summary(row, shapes.statistics(counted.get(row["id"])), lanes.get(row["id"]))

    return await in_slices(rows, shown), total


async def get_webhook(
    pool: Pool, vault: Vault, user: Principal, webhook_id: UUID
) -> tuple[shapes.Detail, dict[str, object]]:
    """The webhook, and the configuration of which its ETag is made. Raises NotFound, Forbidden."""
    async with pool.acquire() as connection:
        row = own(await _SQL.get.fetchrow(connection, id=webhook_id), user)
        counted = shapes.statistics(await _SQL.statistics.fetchrow(connection, ids=[webhook_id]))
        lane = await _SQL.health.fetchrow(connection, ids=[webhook_id])
        blocked = await order.count_blocked(connection, webhook_id)
    return shapes.detail(row, open_headers(vault, row), counted, lane, blocked), shapes.configuration(row)
