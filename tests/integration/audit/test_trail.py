"""The audit trail over HTTP."""

from typing import Any
from uuid import uuid4

from service.platform.queries import load
from tests.support.api.caller import Caller
from tests.support.database import Connection


async def test_an_entry_says_who_did_what_to_what_when_and_from_where(admin: Caller, connection: Connection) -> None:
    item = await admin.make("/items", name="Pump", quantity=9)
    changed = await admin.put(f"/items/{item['id']}", {"quantity": 8})
    (entry, _) = (await admin.get("/audit", entity="item")).body
    assert entry.pop("id")
    assert entry.pop("at").endswith("Z")
    event_id = await connection.fetchval("select id from outbox where type = 'item-updated'")
    assert entry == {
        "actor": {"id": str(admin.token.user_id), "username": "admin0"},
        "action": "update",
        "entity": "item",
        "entity_id": item["id"],
        "before": item,
        "after": changed.body,
        "ip_address": "127.0.0.1",
        "request_id": changed.headers["X-Request-ID"],
        "event_ids": [str(event_id)],
    }


async def test_entries_are_filtered_newest_first_and_paged(admin: Caller, connection: Connection) -> None:
    rows = [await admin.make("/categories", name=name) for name in "abc"]
    await admin.delete(f"/categories/{rows[0]['id']}")
    await connection.execute(
        "update audit set at = timestamptz '2026-01-01 00:00Z' + ascii(after ->> 'name') * interval '1 h' where after is not null"
    )
    removed = await connection.fetchval("select actor_id from audit limit 1")

    async def ids(**query: str) -> list[str]:
        answer = await admin.get("/audit", **query)
        assert answer.status == 200, answer.body
        return [entry["entity_id"] for entry in answer.body]

    a, b, c = (row["id"] for row in rows)
    assert await ids() == [a, c, b, a]
    assert await ids(action="delete") == [a]
    assert await ids(entity="category", entity_id=b) == [b]
    assert await ids(entity="item") == []
    assert await ids(actor_id=str(removed)) == [a, c, b, a]
    assert await ids(actor_id=str(uuid4())) == []
    # 'b' is hour 98, which is January 5th, 2:00.
    assert await ids(since="2026-01-05T02:00:00Z", until="2026-01-05T04:00:00+01:00") == [b]
    assert await ids(since="2026-01-05T03:00:00Z") == [a, c]
    page = await admin.get("/audit", skip="1", limit="2")
    assert [entry["entity_id"] for entry in page.body] == [c, b]
    assert page.headers["X-Total-Count"] == "4"
    bad = await admin.get("/audit", since="yesterday", until="1700000000", actor_id="me")
    assert (bad.status, sorted(bad.pointers)) == (400, ["?actor_id", "?since", "?until"])


async def plan(connection: Connection, statement: Any, mode: str, **values: str) -> str:
    """The statement's EXECUTE with these values as literals. Values that are not given are null."""
    await connection.execute(f"set plan_cache_mode = {mode}")
    await connection.execute(f"prepare asked as {statement.sql}")
    arguments = ", ".join(values.get(name, "null") for name in statement.parameters)
    lines = await connection.fetch(f"explain execute asked ({arguments})")
    await connection.execute("deallocate asked")
    return "\n".join(line[0] for line in lines)


async def test_entries_are_found_by_index(connection: Connection) -> None:
    await connection.execute(
        "insert into audit (at, actor_id, action, entity, entity_id)"
        " select now() - n * interval '1 minute', gen_random_uuid(), 'act' || n % 500, 'item', gen_random_uuid()"
        "   from generate_series(1, 20000) as n"
    )
    await connection.execute("analyze audit")
    sql = load("audit")
    somebody = f"'{uuid4()}'"
    for index, values in (
        ("audit_actor", {"actor_id": somebody}),
        ("audit_entity", {"entity": "'item'", "entity_id": somebody}),
        ("audit_action", {"action": "'act7'"}),
        ("audit_at", {"since": "now() - interval '5 minutes'"}),
    ):
        end = {"before_at": "'9999-12-31'", "before_id": "'ffffffff-ffff-ffff-ffff-ffffffffffff'"}
        page = {"skip": "0", "limit": "50", **end}
        assert index in await plan(connection, sql.count_entries, "force_custom_plan", **values)
        assert index in await plan(connection, sql.list_entries, "force_custom_plan", **values, **page)


async def test_the_places_of_an_item_are_found_by_index(connection: Connection) -> None:
    await connection.execute(
        "insert into items (name, sku) select 'Pump ' || md5(n::text), 'S-' || n from generate_series(1, 5000) as n"
    )
    await connection.execute("vacuum analyze items")
    for name, index, value in (("locations_of_sku", "items_sku", "sku"), ("locations_of_name", "items_name", "name")):
        statement = getattr(load("items"), name)
        shown = await plan(connection, statement, "force_generic_plan", **{value: "'S-7'"})
        assert f"using {index} " in shown or f"on {index} " in shown, shown
