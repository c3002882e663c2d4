"""Users, webhooks and events, written into the database without the API."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.delivery import sign
from service.delivery.subject import subject_of
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.settings import Settings
from service.records import Origin, Records
from tests.support.database import Queries

# A URL where nothing listens.
NOWHERE = "http://127.0.0.1:9/"


@dataclass(frozen=True)
class Webhook:
    id: UUID
    secret: str


async def add_user(connection: Queries, role: str = "admin", status: str = "active") -> UUID:
    user_id = new_id()
    await connection.execute(
        "insert into users (id, username, email, full_name, role, status, password_hash) values ($1, $2, $3, 'A Person', $4, $5, '!')",
        user_id,
        f"user-{user_id.hex[-12:]}",
        f"{user_id.hex}@example.org",
        role,
        status,
    )
    return user_id


async def add_webhook(
    connection: Queries,
    settings: Settings,
    url: str,
    events: list[str],
    *,
    owner_id: UUID | None = None,
    max_retries: int = 3,
    retry_delay_ms: int = 100,
    timeout_ms: int = 5000,
    headers: Mapping[str, str] | None = None,
    locations: list[UUID] | None = None,
    categories: list[UUID] | None = None,
    threshold: int | None = None,
    ordering: str | None = None,
    on_failure: str | None = None,
) -> Webhook:
    webhook_id, secret, vault = new_id(), sign.new_secret(), settings.vault()
    await connection.execute(
        "insert into webhooks (id, owner_id, url, events, secret_sealed, headers_sealed, max_retries, retry_delay_ms, timeout_ms,"
        " filter_locations, filter_categories, min_stock_threshold, ordering, on_failure)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        webhook_id,
        owner_id or await add_user(connection),
        url,
        events,
        vault.seal(secret.encode(), webhook_id.bytes),
        vault.seal(json.dumps(dict(headers)).encode(), webhook_id.bytes) if headers else None,
        max_retries,
        retry_delay_ms,
        timeout_ms,
        locations or [],
        categories or [],
        threshold,
        ordering,
        on_failure,
    )
    return Webhook(webhook_id, secret)


async def write_event(
    connection: Queries,
    event_type: str = "item-created",
    data: str = '{"name":"x"}',
    *,
    location_ids: Sequence[UUID] | None = None,
    routed: bool = False,
) -> UUID:
    """Writes an event as psql would or, if `routed`, as the service does, which also stores the
    event's subject."""
    if not routed:
        by_psql: UUID = await connection.fetchval(
            "insert into outbox (type, data, location_ids) values ($1, $2, $3) returning id",
            event_type,
            data,
            location_ids,
        )
        return by_psql
    records = Records(Origin())
    records.event(event_type, subject_of(event_type, data, location_ids))
    [call] = records.calls()
    written: list[UUID] = await load("mutation").record.fetchval(connection, **call.parameters())
    return written[0]
