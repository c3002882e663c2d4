"""Rows that the outbox refuses, whichever program writes them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from service.platform.ids import new_id
from tests.support.database import Connection


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("type, data", "'item-created', 'not json'"),
        ("type, data", "'item-created', '[]'"),
        ("type, data", "'Item Created', '{}'"),
        ("type, data", "'item-created', json_build_object('x', repeat('x', 65000))::text"),
        ("type, data, id", "'item-created', '{}', '00000000-0000-7000-8000-000000000000'"),
        ("type, data, id", "'item-created', '{}', gen_random_uuid()"),
        ("type, data", "'a', '{}'"),
        ("type, data", "'item-', '{}'"),
        ("type, data", "repeat('a', 65), '{}'"),
        ("type, data, occurred_at", "'item-created', '{}', 'infinity'"),
        ("type, data, occurred_at", "'item-created', '{}', '0001-01-01 00:00:00+00 BC'"),
        ("type, data, occurred_at", "'item-created', '{}', '10000-01-01 00:00:00+00'"),
        ("type, data, audience, location_ids, user_ids", "'item-created', '{}', 'everybody', '{}', '{}'"),
        ("type, data, audience, location_ids", "'item-created', '{}', 'inventory', '{}'"),
        ("type, data, audience, user_ids", "'item-created', '{}', 'inventory', '{}'"),
        ("type, data, stock", "'item-created', '{}', 3"),
        ("type, data, item_id", "'item-created', '{}', uuidv7()"),
        ("type, data, category_id", "'item-created', '{}', uuidv7()"),
    ],
)
async def test_the_outbox_refuses_what_is_no_event(connection: Connection, columns: str, values: str) -> None:
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.InvalidTextRepresentationError)):
        await connection.execute(f"insert into outbox ({columns}) values ({values})")


@pytest.mark.parametrize("hours", [-25, -23, 23, 25])
async def test_an_ids_time_is_within_a_day_of_the_clock(connection: Connection, hours: int) -> None:
    milliseconds = int((datetime.now(UTC) + timedelta(hours=hours)).timestamp() * 1000)
    event_id = UUID(int=(milliseconds << 80) | (new_id().int & ((1 << 80) - 1)))
    write = connection.execute("insert into outbox (id, type, data) values ($1, $2, '{}')", event_id, "a" * 64)
    if abs(hours) < 24:
        await write
        return
    with pytest.raises(asyncpg.CheckViolationError, match="outbox_id_time_check"):
        await write
