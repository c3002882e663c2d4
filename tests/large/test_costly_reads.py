"""Costly reads are bounded on a million rows of everything. They hold few connections, no matter
how many users ask."""

import asyncio
from collections import Counter

import pytest

from service.api.admission import reads_at_once
from service.platform.queries import load
from service.platform.settings import Settings
from tests.support.api.caller import Answer, Api, Caller, SignUp
from tests.support.database import Connection
from tests.support.large.people import token_of

# The statements that read the log. Their parallel workers have rows of their own.
COSTLY = [load("replay").count.sql, load("stream").page.sql]
BUSY = """select count(*) from pg_stat_activity
           where datname = current_database() and application_name = 'jossiedb service' and state = 'active'
             and left(query, 500) = any ($1::text[])"""
SINCE = "2020-01-01T00:00:00Z"


@pytest.fixture
async def admin(api: Api, settings: Settings, connection: Connection) -> Caller:
    return Caller(api, await token_of(settings, connection, "admin"))


@pytest.fixture
async def webhook_id(connection: Connection) -> str:
    """The id of the webhook with two million attempts."""
    return str(await connection.fetchval("select id from webhooks order by created_at limit 1"))


async def test_twelve_dry_runs_and_twelve_streams_leave_the_rest_of_the_pool_alone(
    admin: Caller, api: Api, sign_up: SignUp, webhook_id: str, connection: Connection, settings: Settings
) -> None:
    greedy = [Caller(api, await sign_up("admin")) for _ in range(4)]
    dry_run = {"since": SINCE, "status": "all", "dryRun": True}

    async def ask(caller: Caller) -> list[Answer]:
        return [
            await caller.post(f"/webhooks/{webhook_id}/replay", dry_run),
            await caller.get(f"/webhooks/{webhook_id}/stream", after="earliest", limit="500"),
        ]

    asking = [asyncio.create_task(ask(caller)) for caller in greedy for _ in range(3)]
    most = ordinary = 0
    while not all(task.done() for task in asking):
        most = max(most, await connection.fetchval(BUSY, [sql[:500] for sql in COSTLY]))
        answer = await admin.get("/items")
        assert answer.status == 200
        ordinary += 1
    statuses = Counter(answer.status for task in asking for answer in task.result())
    assert set(statuses) <= {200, 429, 503}
    assert statuses[200] > 0
    assert 0 < most <= reads_at_once(settings.jossiedb_pool_size)
    assert ordinary > 1


async def test_a_dry_run_over_a_million_events_counts_no_further_than_it_must(admin: Caller, webhook_id: str) -> None:
    answer = await admin.post(f"/webhooks/{webhook_id}/replay", {"since": SINCE, "status": "all", "dryRun": True})
    assert answer.status == 200
    assert answer.body["countIsMinimum"] is True
    assert answer.body["count"] < 100_000


@pytest.mark.parametrize("path", ["/items", "/audit", "/auth/sessions?status=all"])
async def test_a_list_of_a_million_says_that_it_has_more_than_it_counts(path: str, admin: Caller) -> None:
    answer = await admin.get(path)
    assert (answer.status, len(answer.body)) == (200, 50)
    assert (answer.headers["X-Total-Count"], answer.headers["X-Total-Count-Is-Minimum"]) == ("10000", "true")


async def test_session_stats_of_two_hundred_thousand_sessions_are_exact(admin: Caller) -> None:
    answer = await admin.get("/auth/session-stats")
    assert (answer.status, answer.body["ended"]["logout"]) == (200, 200_000)
