"""The number of rows of a list is exact up to a bound. Beyond it, the answer says that the number
is a minimum."""

import pytest

from service.api import admission, counts
from service.audit import reads as audit
from service.webhooks import delivery_reads, replay_reads, replays
from tests.support.api.caller import Caller
from tests.support.api.webhooks import make_webhook
from tests.support.database import Connection
from tests.support.relay.replays import A_WHILE_AGO


@pytest.fixture
def up_to_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are exact up to ten rows."""
    for module in (counts, delivery_reads):
        monkeypatch.setattr(module, "MOST", 10)


async def _items(connection: Connection, count: int) -> None:
    await connection.execute(
        "insert into items (name) select 'item ' || n from generate_series(1, $1::int) as n", count
    )


@pytest.mark.parametrize("count", [10_000, 10_001])
async def test_a_total_is_exact_up_to_ten_thousand(count: int, admin: Caller, connection: Connection) -> None:
    await _items(connection, count)
    answer = await admin.get("/items")
    assert answer.headers["X-Total-Count"] == "10000"
    assert answer.headers.get("X-Total-Count-Is-Minimum") == ("true" if count > 10_000 else None)
    assert ('rel="last"' in answer.headers["Link"]) == (count == 10_000)


@pytest.mark.usefixtures("up_to_ten")
@pytest.mark.parametrize("path", ["/items", "/items?sort=name", "/locations", "/categories", "/users", "/audit"])
async def test_a_page_beyond_the_last_row_adds_nothing_to_the_total(
    path: str, admin: Caller, connection: Connection
) -> None:
    await _items(connection, 12)
    for table in ("locations", "categories"):
        await connection.execute(f"insert into {table} (name) select n::text from generate_series(1, 12) as n")
    await connection.execute(
        "insert into audit (action, entity, entity_id) select 'x', 'y', uuidv7() from generate_series(1, 12)"
    )
    await connection.execute(
        "insert into users (username, email, full_name, role, password_hash)"
        " select 'user' || n, n || '@example.org', 'x', 'worker', '!' from generate_series(1, 12) as n"
    )
    for skip in ("20", "2000000000"):
        answer = await admin.get(f"{path}{'&' if '?' in path else '?'}skip={skip}")
        assert (answer.status, answer.body) == (200, [])
        assert (answer.headers["X-Total-Count"], answer.headers["X-Total-Count-Is-Minimum"]) == ("10", "true")
        assert 'rel="next"' not in answer.headers["Link"]
    last = await admin.get(f"{path}{'&' if '?' in path else '?'}skip=11&limit=1")
    assert last.headers["X-Total-Count"] == "12"


@pytest.mark.usefixtures("up_to_ten")
async def test_pages_beyond_the_count_follow_one_another_to_the_last_row(admin: Caller, connection: Connection) -> None:
    await _items(connection, 25)
    seen, skip = [], 0
    while True:
        answer = await admin.get("/items", skip=str(skip), limit="8")
        seen += [item["name"] for item in answer.body]
        assert int(answer.headers["X-Total-Count"]) >= min(len(seen), 10)
        if 'rel="next"' not in answer.headers["Link"]:
            break
        skip += 8
    assert len(seen) == len(set(seen)) == 25
    by_cursor = await admin.get("/items", cursor="", limit="8")
    assert (by_cursor.headers["X-Total-Count"], by_cursor.headers["X-Total-Count-Is-Minimum"]) == ("10", "true")


@pytest.mark.usefixtures("up_to_ten")
@pytest.mark.parametrize("path", ["/locations", "/categories", "/audit", "/users", "/auth/sessions"])
async def test_every_list_says_that_its_total_is_a_minimum(path: str, admin: Caller, connection: Connection) -> None:
    me = admin.token.user_id
    await connection.execute("insert into locations (name) select 'l' || n from generate_series(1, 12) as n")
    await connection.execute("insert into categories (name) select 'c' || n from generate_series(1, 12) as n")
    await connection.execute(
        "insert into audit (actor_id, action, entity, entity_id) select $1, 'x', 'y', uuidv7() from generate_series(1, 12)",
        me,
    )
    await connection.execute(
        "insert into users (username, email, full_name, role, password_hash)"
        " select 'user' || n, n || '@example.org', 'x', 'worker', '!' from generate_series(1, 12) as n"
    )
    await connection.execute(
        "insert into sessions (user_id, expires_at) select $1, now() + interval '1 day' from generate_series(1, 12)", me
    )
    answer = await admin.get(path, limit="5")
    assert (answer.headers["X-Total-Count"], answer.headers["X-Total-Count-Is-Minimum"]) == ("10", "true")


@pytest.mark.usefixtures("up_to_ten")
async def test_a_webhook_with_a_long_backlog_says_that_more_wait_than_are_counted(
    admin: Caller, connection: Connection
) -> None:
    webhook_id = (await make_webhook(admin))["id"]
    await connection.execute(
        "insert into deliveries (webhook_id, position, event_id, event_type, event_at)"
        " select $1, n, uuidv7(), 'item-created', now() from generate_series(1, 12) as n",
        webhook_id,
    )
    for status, minimum in (("pending", True), ("success", None)):
        page = (await admin.get(f"/webhooks/{webhook_id}/events", status=status, limit="1")).body
        assert (page["total"], page.get("totalIsMinimum")) == (10 if minimum else 0, minimum)
    stats = (await admin.get(f"/webhooks/{webhook_id}/stats")).body["stats"]
    assert (stats["pendingCount"], stats["pendingCountIsMinimum"]) == (10, True)


async def test_a_count_that_takes_too_long_is_at_least_what_the_page_has_shown(
    admin: Caller, another_connection: Connection, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page and its count are two statements. Here only the count is held up."""
    await connection.execute(
        "insert into audit (action, entity, entity_id) select 'x', 'y', uuidv7() from generate_series(1, 12)"
    )
    slow = audit._SQL.count_entries
    monkeypatch.setattr(admission, "STATEMENT_MS", 1000)
    monkeypatch.setattr(
        slow, "sql", slow.sql.replace("select count(*)", "select count(*) + length(pg_sleep(60)::text)")
    )
    answer = await admin.get("/audit", skip="2", limit="5")
    assert (answer.status, len(answer.body)) == (200, 5)
    assert (answer.headers["X-Total-Count"], answer.headers["X-Total-Count-Is-Minimum"]) == ("7", "true")
    assert 'rel="next"' in answer.headers["Link"]


async def test_a_dry_run_counts_the_oldest_and_says_that_there_are_more(
    admin: Caller, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_reads, "MOST", 10)
    monkeypatch.setattr(replays, "STRETCHES", (2, 4))
    webhook_id = (await make_webhook(admin))["id"]
    await connection.execute(
        """insert into events (position, id, seq, type, data, occurred_at, audience, location_ids, user_ids, deliveries)
           select n, uuidv7(), n, 'item-created', '{}', now(), 'inventory', '{}', '{}', 0 from generate_series(1, 20) as n"""
    )
    await connection.execute("update log_head set position = 20")
    wanted = {"since": A_WHILE_AGO, "status": "missing"}
    counted = (await admin.post(f"/webhooks/{webhook_id}/replay", {**wanted, "dryRun": True})).body
    assert (counted["count"], counted["countIsMinimum"], counted["byType"]) == (14, True, {"item-created": 14})
    # A job looks at all of them anyway, and reports their exact number.
    job = (await admin.post(f"/webhooks/{webhook_id}/replay", wanted)).body["job"]
    assert job["total"] == 20
    monkeypatch.setattr(replay_reads, "MOST", 20)
    exact = (await admin.post(f"/webhooks/{webhook_id}/replay", {**wanted, "dryRun": True})).body
    assert exact["count"] == 20
    assert "countIsMinimum" not in exact
