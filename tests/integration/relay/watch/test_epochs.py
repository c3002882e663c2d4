"""A new epoch gives only values that no past has given, and values of a lost past are not taken as
valid."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from relay.board import Board
from relay.identity import Identity
from relay.rules.shares import Places
from relay.send.target import Targets
from relay.watch.database import Queues
from service.platform.epoch import Epoch, Known, Mark, Unsettled
from service.platform.ids import new_id
from service.platform.queries import load
from service.platform.settings import Settings
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.webhooks import make_webhook
from tests.support.command_line import run
from tests.support.database import Connection
from tests.support.postgres.audit_scripts import run_audit
from tests.support.relay.fan_out import drain
from tests.support.relay.ordered_webhooks import change, items, ordered_webhook
from tests.support.relay.parts import present
from tests.support.relay.replays import Leader, ask_replay, show_job
from tests.support.relay.sending import claim_one, register
from tests.support.rows import add_webhook, write_event

_SQL = load("epoch")


@pytest.fixture
async def owner(api: Api, sign_up: SignUp) -> Caller:
    return Caller(api, await sign_up("admin"))


async def _begin(connection: Connection, **known: Any) -> Known:
    begin = {"expected": None, "above": None, "why": "a test", "if_moved": False} | known
    await _SQL.begin.fetchval(connection, **begin)
    row = await _SQL.present.fetchrow(connection)
    assert row is not None
    return Known(row["id"], row["base"])


async def _given(connection: Connection) -> tuple[int, ...]:
    row = await connection.fetchrow(
        "select (select position from log_head), nextval('fences'), nextval('outbox_seq_seq'), (select base from epoch)"
    )
    assert row is not None
    return tuple(row)


async def test_all_that_is_given_in_a_new_epoch_is_greater_than_whatever_was(connection: Connection) -> None:
    relay_id = await register(connection)
    for above in (None, 4 * 10**15):
        before = await _given(connection)
        # Higher than any past can have reached: a million a second since 1970.
        now = await connection.fetchval("select floor(extract(epoch from clock_timestamp()))::bigint * 1000000")
        epoch = await _begin(connection, above=above)
        after = await _given(connection)
        assert min(after) >= max(now, above or 0)
        assert all(then > earlier for earlier, then in zip(before, after, strict=True))
        assert epoch.base < 2**53, "JavaScript reads it"
    assert not await connection.fetchval("select exists (select from relays where id = $1)", relay_id)


async def test_a_new_epoch_lies_above_the_one_that_a_process_knows(connection: Connection) -> None:
    """The epoch that the process knows may have begun while the server's clock was ahead."""
    epoch = Epoch(lambda: Mark(position=1, event_id=new_id()))
    epoch.known = Known(new_id(), 5 * 10**15)
    await epoch.settle(connection)
    assert await connection.fetchval("select base from epoch") > 5 * 10**15


async def test_a_database_without_an_epoch_is_given_one_by_hand(settings: Settings, connection: Connection) -> None:
    await connection.execute("truncate epoch")
    with pytest.raises(Unsettled, match="jossiedb restored"):
        await Epoch().greet(connection)
    code, _, _ = await run("restored")
    assert code == 0
    await Epoch().greet(connection)


async def test_of_two_that_begin_at_once_one_does(connection: Connection, another_connection: Connection) -> None:
    expected = await connection.fetchval("select id from epoch")
    first, second = await asyncio.gather(
        _begin(connection, expected=expected), _begin(another_connection, expected=expected)
    )
    assert first == second
    assert await connection.fetchval("select cardinality(bases) from epoch") == 2


async def test_the_first_process_makes_the_server_known_and_another_server_is_left_to_others(
    connection: Connection, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_event(connection)
    await drain(queues)
    alive_by = Mark(position=1, event_id=await connection.fetchval("select id from events"))
    monkeypatch.setattr("service.platform.epoch.GRACE_SECONDS", 0.3)
    before = await connection.fetchval("select id from epoch")
    await Epoch().settle(connection)
    assert await connection.fetchval("select (system_identifier, database_oid, timeline) is not null from epoch")
    await Epoch().settle(connection)
    assert await connection.fetchval("select id from epoch") == before
    for moved in ("system_identifier = 1", "database_oid = 1", "timeline = timeline + 1"):
        # A process that has kept running finds its mark.
        await connection.execute(f"update epoch set {moved}")
        alive = Epoch(lambda: alive_by)
        alive.known = Known(before, 0)
        await alive.greet(connection)
        assert await connection.fetchval("select id from epoch") == before
        await Epoch().settle(connection)
        assert await connection.fetchval("select id from epoch") == before
    # No process finds its mark.
    await connection.execute("update epoch set timeline = timeline + 1")
    await Epoch().settle(connection)
    assert await connection.fetchval("select id from epoch") != before


async def test_a_relay_that_was_taken_for_dead_knows_its_past_again(connection: Connection, queues: Queues) -> None:
    identity = Identity()
    presence = present(queues, Board(), identity)
    await presence.register()
    await presence._beat()
    first = identity.relay_id
    before = await connection.fetchval("select id from epoch")
    await connection.execute("delete from relays")
    await presence._beat()
    await presence._beat()
    assert identity.relay_id != first
    assert await connection.fetchval("select id from epoch") == before


async def test_a_relay_whose_row_is_of_another_past_begins_a_new_epoch_and_goes_on_under_a_new_id(
    connection: Connection, queues: Queues
) -> None:
    identity = Identity()
    presence = present(queues, Board(), identity)
    await presence.register()
    before, first = await connection.fetchval("select id from epoch"), identity.relay_id
    old = await connection.fetchval("select mark from relays")
    await presence._beat()
    # As in a backup.
    await connection.execute("update relays set mark = $1", old)
    await presence._beat()
    await presence._beat()
    assert await connection.fetchval("select id from epoch") != before
    assert await connection.fetchval("select cardinality(bases) from epoch") == 2
    assert identity.relay_id != first
    assert await connection.fetchval("select array_agg(id) from relays") == [identity.relay_id]


async def test_a_stream_goes_on_over_the_gap_of_a_new_epoch(
    owner: Caller, leader: Leader, connection: Connection
) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    path = f"/webhooks/{webhook_id}/stream"
    old = await leader.write_many(2)
    cursor = (await owner.get(path)).body["next"]
    base = (await _begin(connection)).base
    # No event yet: the reader waits, and its cursor stays.
    waited = await owner.get(path, after=cursor, wait="1")
    assert waited.body == {"events": [], "next": cursor}
    new = await leader.write_many(2)
    assert [event.position for event in new] == [base + 1, base + 2]
    for after in (cursor, "earliest", str(old[-1].position), str(base)):
        page = (await owner.get(path, after=after)).body
        assert [UUID(event["id"]) for event in page["events"]][-2:] == [event.id for event in new]
        assert page["next"] == f"{base + 2}-{new[-1].id.hex}"
    assert await run_audit("outbox_completeness", leader.url) == []


@pytest.mark.parametrize("lost", ["another event", "beyond the end", "in the gap"])
async def test_a_cursor_of_a_past_that_is_lost_is_refused_and_told_how_to_go_on(
    owner: Caller, leader: Leader, connection: Connection, lost: str
) -> None:
    webhook_id = (await make_webhook(owner))["id"]
    events = await leader.write_many(3)
    position = {"another event": events[-1].position, "beyond the end": 7, "in the gap": 7}[lost]
    if lost == "in the gap":
        await _begin(connection)
    stream = await owner.get(f"/webhooks/{webhook_id}/stream", after=f"{position}-{new_id().hex}")
    assert stream.status == 410
    assert "?after=earliest" in stream.body["detail"]
    await connection.execute("update deliveries set event_id = event_id")
    page = await owner.get(f"/webhooks/{webhook_id}/events", limit="1")
    link = page.headers["Link"].partition("<")[2].partition(">")[0]
    assert (await owner.get(link.removeprefix("/api/v1"))).status == 200
    await connection.execute("update events set id = gen_random_uuid()")
    assert (await owner.get(link.removeprefix("/api/v1"))).status == 410


async def test_a_replay_goes_on_over_the_gap_of_a_new_epoch(
    owner: Caller, leader: Leader, connection: Connection
) -> None:
    old = await leader.write_many(2)
    base = (await _begin(connection)).base
    new = await leader.write_many(2)
    webhook_id = (await make_webhook(owner))["id"]
    job = await ask_replay(owner, webhook_id, status="missing")
    async with asyncio.timeout(30):
        await leader.work()
    assert (await show_job(owner, webhook_id, job))["status"] == "done"
    assert await leader.pending(webhook_id) == [event.position for event in (*old, *new)]
    assert base > old[-1].position


async def test_the_numbers_of_an_items_events_begin_above_the_base_and_have_no_gap(
    connection: Connection, settings: Settings, queues: Queues, database_url: str
) -> None:
    webhook = await ordered_webhook(connection, settings, "http://127.0.0.1:9/")
    known, fresh = items(2)
    for number in range(2):
        await change(connection, known, number)
    await drain(queues)
    base = (await _begin(connection)).base
    for item in (known, fresh, known, fresh):
        await change(connection, item, 7)
        await drain(queues)
    rows = await connection.fetch(
        "select item_id, array_agg(sequence order by sequence) as numbers, count(next_attempt_at) as due from deliveries"
        " where webhook_id = $1 group by item_id",
        webhook.id,
    )
    assert {row["item_id"]: (row["numbers"], row["due"]) for row in rows} == {
        known: ([1, 2, base + 1, base + 2], 1),
        fresh: ([base + 1, base + 2], 1),
    }
    assert await run_audit("order", database_url) == []
    assert await run_audit("outbox_completeness", database_url) == []


async def test_a_webhook_that_was_changed_in_another_past_is_not_taken_for_the_one_of_this(
    connection: Connection, settings: Settings, queues: Queues
) -> None:
    webhook = await add_webhook(connection, settings, "http://127.0.0.1:9/first", ["item-created"])
    targets = Targets(settings.vault(), Places(settings.relay_concurrency_per_webhook))
    change_url = "update webhooks set url = $1, version = version + 1"

    async def url() -> str:
        version = await connection.fetchval("select version from webhooks")
        return (await targets.load(queues, [(webhook.id, version)]))[webhook.id].url

    backup = await connection.fetchval("select version from webhooks")
    for lost in ("/lost", "/lost as well"):
        await connection.execute(change_url, f"http://127.0.0.1:9{lost}")
        assert (await url()).endswith(lost)
    await connection.execute("alter table webhooks disable trigger webhooks_renew_version")
    await connection.execute("update webhooks set url = 'http://127.0.0.1:9/first', version = $1", backup)
    assert (await url()).endswith("/first")
    await connection.execute("alter table webhooks enable trigger webhooks_renew_version")
    await connection.execute(change_url, "http://127.0.0.1:9/other")
    assert (await url()).endswith("/other")


async def test_a_result_of_another_past_ends_no_other_event(
    connection: Connection, settings: Settings, queues: Queues
) -> None:
    """After a restore, the same claims draw the same fences, for another event at the same
    position."""
    webhook = await add_webhook(connection, settings, "http://127.0.0.1:9/", ["item-created"])
    await write_event(connection)
    await drain(queues)
    relay_id = await register(connection)
    [row] = await claim_one(queues, relay_id, webhook.id)
    for event_id, ended in ((new_id(), False), (row["event_id"], True)):
        result = (
            webhook.id, row["position"], row["fence"], event_id, row["event_type"], row["event_at"], 1, "success",
            *((None,) * 16),
        )  # fmt: skip
        done = await load("record").record.fetchrow(queues, relay_id=relay_id, results=[result])
        assert done is not None
        assert bool(done["superseded"]) is not ended
        assert await connection.fetchval("select exists (select from deliveries)") is not ended


async def test_a_new_epoch_is_begun_by_hand(settings: Settings, connection: Connection) -> None:
    before = await connection.fetchval("select id from epoch")
    code, output, errors = await run("restored")
    assert (code, errors) == (0, "")
    base = await connection.fetchval("select base from epoch")
    assert f"positions go on from {base + 1}" in output
    assert await connection.fetchval("select id from epoch") != before
