"""A ring is a hint: a full queue of notifications or a full table of locks does not fail the
transaction that rings."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from relay.lead.doorbell import LOCK_CLASS, LOCK_DOORBELL, WAKE_CHANNEL
from service.platform.settings import Settings
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.database import Connection
from tests.support.postgres.throwaway import Throwaway
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

# So few locks that one session can take them all.
_SMALL = {"max_locks_per_transaction": "10", "max_connections": "10", "superuser_reserved_connections": "0"}


@pytest.fixture
def small() -> Iterator[Throwaway]:
    """A server of this test, with the smallest possible queue of notifications and table of
    locks."""
    server = Throwaway({**_SMALL, "max_prepared_transactions": "2"}, small_queue=True)
    try:
        server.start()
        server.migrate()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def writer(small: Throwaway) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(small.url)
    yield connection
    await connection.close(timeout=10)


@pytest.fixture
async def leader(small: Throwaway) -> AsyncIterator[Connection]:
    """A leader that sleeps and listens."""
    connection = await asyncpg.connect(small.url)
    assert await connection.fetchval("select pg_try_advisory_lock($1, $2)", LOCK_CLASS, LOCK_DOORBELL)
    yield connection
    await connection.close(timeout=10)


# Session locks that a statement took stay, although the statement fails.
_TAKE_ALL_LOCKS = "select pg_advisory_lock(n) from generate_series(0, 1000000) as n"


async def _fill(connection: Connection) -> None:
    """Fill the queue of notifications. A session in a transaction keeps the server from emptying
    it."""
    for _ in range(50):
        try:
            await connection.execute(
                "select pg_notify('anything', repeat('x', 7000) || n) from generate_series(1, 10) as n"
            )
        except asyncpg.ProgramLimitExceededError:
            return
    raise AssertionError("it takes more than that")


async def _rings(leader: Connection, writer: Connection) -> bool:
    notified = asyncio.Event()

    def hear(*_: object) -> None:
        notified.set()

    await leader.add_listener(WAKE_CHANNEL, hear)
    try:
        await write_event(writer)
        # Notifications that were sent come before the reply.
        await leader.fetchval("select 1")
        await asyncio.sleep(0)
        return notified.is_set()
    finally:
        await leader.remove_listener(WAKE_CHANNEL, hear)


async def test_a_full_queue_of_notifications_fails_no_commit_and_rings_again_when_there_is_room(
    small: Throwaway, leader: Connection, writer: Connection
) -> None:
    assert await _rings(leader, writer)
    stuck = await asyncpg.connect(small.url)
    await stuck.execute("listen anything")
    # The session reads nothing while it is in a transaction.
    await stuck.execute("begin")
    await _fill(writer)
    assert await writer.fetchval("select pg_notification_queue_usage()") > 0.9
    async with writer.transaction():
        # The commit decides whether to ring, however long the transaction has been open.
        await write_event(writer)
        await writer.execute("insert into lane_wakes values (gen_random_uuid())")
    assert not await _rings(leader, writer)
    assert await writer.fetchval("select count(*) from outbox") == 3
    await stuck.close()

    async def again() -> bool:
        return await _rings(leader, writer)

    await until(again, "it rings again")


async def test_a_transaction_that_began_before_the_queue_was_full_commits(
    small: Throwaway, leader: Connection, writer: Connection
) -> None:
    """The writer was refused the doorbell's lock while there was room in the queue, and commits
    when there is none."""
    stuck, other = await asyncpg.connect(small.url), await asyncpg.connect(small.url)
    await stuck.execute("listen anything")
    await stuck.execute("begin")
    async with writer.transaction():
        await write_event(writer)
        await _fill(other)
    assert await writer.fetchval("select count(*) from outbox") == 1
    await stuck.close()
    await other.close()


async def test_a_transaction_that_wrote_an_event_can_be_prepared(leader: Connection, writer: Connection) -> None:
    await writer.execute("begin")
    await write_event(writer)
    await writer.execute("prepare transaction 'two phases'")
    await writer.execute("commit prepared 'two phases'")
    assert await writer.fetchval("select count(*) from outbox") == 1
    assert await _rings(leader, writer)


async def test_a_full_table_of_locks_fails_nothing_that_could_be_written_without_an_event(
    small: Throwaway, leader: Connection, writer: Connection
) -> None:
    await writer.execute("create table plain (x int)")
    hoarder = await asyncpg.connect(small.url)
    for statement in ("insert into plain values (1)", "insert into outbox (type, data) values ('item-created', '{}')"):
        # Run once before, so that the server's caches are filled. Filling them takes locks.
        await writer.execute(statement)
    with pytest.raises(asyncpg.OutOfMemoryError):
        await hoarder.execute(_TAKE_ALL_LOCKS)
    failed = 0
    # Release one more lock each time, until there is room for a row of any table.
    for number in range(64):
        try:
            await writer.execute("insert into plain values (1)")
        except asyncpg.OutOfMemoryError:
            failed += 1
        else:
            await writer.execute("insert into outbox (type, data) values ('item-created', '{}')")
        await hoarder.fetchval("select pg_advisory_unlock($1)", number)
    assert failed < 64
    assert await writer.fetchval("select count(*) from outbox") == 65 - failed
    await hoarder.close()
    assert await _rings(leader, writer)


async def test_one_transaction_rings_once_however_much_it_writes(
    connection: Connection, another_connection: Connection, third: Connection
) -> None:
    notified: list[object] = []
    await third.add_listener(WAKE_CHANNEL, lambda *_: notified.append(1))
    await connection.fetchval("select pg_advisory_lock($1, $2)", LOCK_CLASS, LOCK_DOORBELL)
    for _ in range(2):
        async with another_connection.transaction():
            for _ in range(3):
                await write_event(another_connection)
        await third.fetchval("select 1")

    async def both() -> bool:
        await third.fetchval("select 1")
        return len(notified) == 2

    await until(both, "each transaction has rung")


async def test_whoever_finds_the_leader_awake_as_it_commits_rings_no_more(
    connection: Connection, another_connection: Connection
) -> None:
    """The writer also keeps the leader awake until it has committed."""
    leader, writer = connection, another_connection
    notified: list[object] = []
    await leader.add_listener(WAKE_CHANNEL, lambda *_: notified.append(1))
    await leader.fetchval("select pg_advisory_lock($1, $2)", LOCK_CLASS, LOCK_DOORBELL)
    async with writer.transaction():
        await write_event(writer)
        await leader.fetchval("select pg_advisory_unlock($1, $2)", LOCK_CLASS, LOCK_DOORBELL)
        await writer.execute("set constraints all immediate")
        assert not await leader.fetchval("select pg_try_advisory_lock($1, $2)", LOCK_CLASS, LOCK_DOORBELL)
    await leader.fetchval("select 1")
    assert notified == []


async def test_lanes_that_cannot_be_woken_fail_nothing(
    api: Api, sign_up: SignUp, settings: Settings, connection: Connection, another_connection: Connection
) -> None:
    admin = Caller(api, await sign_up("admin"))
    webhook = await add_webhook(connection, settings, "http://127.0.0.1:9/", ["item-created"])
    await connection.execute("update webhooks set active = false where id = $1", webhook.id)
    async with another_connection.transaction():
        await another_connection.execute("lock table lane_wakes in exclusive mode")
        answer = await admin.put(f"/webhooks/{webhook.id}", {"active": True})
        assert answer.status == 200, answer.body
    assert await connection.fetchval("select active from webhooks where id = $1", webhook.id)


async def test_a_login_does_not_wait_for_whoever_holds_its_turn(
    api: Api, connection: Connection, another_connection: Connection
) -> None:
    account = {"username": "maria", "email": "maria@example.org", "password": "a long password", "full_name": "Maria"}
    async with api.post("/api/v1/auth/register", json=account) as answer:
        assert answer.status == 201, await answer.text()
    async with another_connection.transaction():
        # Another API process was stopped in the middle of a login.
        await another_connection.fetchval(
            "select pg_advisory_xact_lock(hashtextextended('login maria 127.0.0.1', 0)),"
            " pg_advisory_xact_lock(hashtextextended('login maria ::1', 0))"
        )
        login = {"username": "maria", "password": "a long password"}
        async with api.post("/api/v1/auth/login", json=login) as answer:
            assert answer.status == 200, await answer.text()
