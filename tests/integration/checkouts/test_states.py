"""The diagram in docs/CHECKOUTS.md shows the states that the database allows."""

import asyncpg
import pytest

from tests.support.api.caller import SignUp
from tests.support.database import Connection
from tests.support.state_diagrams import BEGIN, drawn, states

EDGES = drawn("CHECKOUTS.md", "States")


async def test_the_diagram_draws_the_steps_that_the_table_allows(connection: Connection) -> None:
    constraint = await connection.fetchval(
        "select pg_get_expr(conbin, conrelid) from pg_constraint where conname = 'checkouts_edge_check'"
    )
    names = sorted(states(EDGES))

    allowed = await connection.fetch(
        f"select coalesce(came_from, $2) as came_from, status from unnest($1::text[]) as status,"
        f" unnest(array_append($1::text[], null)) as came_from where {constraint}",
        [*names, "overdue"],
        BEGIN,
    )

    assert len(names) == 5
    assert sorted((row["came_from"], row["status"]) for row in allowed) == sorted(EDGES)


async def test_a_state_without_what_it_means_cannot_be_stored(connection: Connection, sign_up: SignUp) -> None:
    item_id = await connection.fetchval("insert into items (name) values ('Pump') returning id")
    user_id = (await sign_up("worker")).user_id
    await connection.execute(
        "insert into checkouts (item_id, user_id, quantity, status) values ($1, $2, 3, 'pending_authorization')",
        item_id,
        user_id,
    )
    activated = "status = 'active', authorized_at = now(), authorized_by = user_id"
    ended = "status = 'returned', came_from = 'active', returned_at = now(), returned_by = user_id"

    for change in (
        "returned_quantity = 1",
        "authorized_at = now(), authorized_by = user_id",
        "status = 'active', came_from = status",
        "status = 'active', came_from = status, authorized_at = now()",
        "status = 'rejected', came_from = status, cancelled_at = now(), cancelled_by = user_id",
        f"{activated}, came_from = status, returned_quantity = 1",
        f"{activated}, came_from = 'active', returned_quantity = 3",
        f"{activated}, came_from = 'active', returned_quantity = 0",
        f"{ended}, authorized_at = now(), authorized_by = user_id, returned_quantity = 2",
        f"{ended}, returned_quantity = 3",
    ):
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await connection.execute(f"update checkouts set {change}")
        assert refused.value.constraint_name == "checkouts_steps_check", change
