"""A relay's row in `relays`: how it is written, and when a peer treats the relay as dead."""

import asyncio

import asyncpg
import pytest

from relay.board import Board
from relay.identity import Identity
from relay.watch.database import Queues, open_queues
from service.platform.queries import Statement
from tests.support.database import THIS_DATABASE, Connection
from tests.support.relay.parts import present
from tests.support.relay.processes import Relays
from tests.support.relay.sending import register
from tests.support.waiting import until


async def test_a_relay_is_taken_for_dead_only_when_it_has_been_seen_to_be_silent(
    connection: Connection, queues: Queues
) -> None:
    """If the server's clock leaps ahead, all relays seem silent at once, and then beat again."""
    identity = Identity()
    presence = present(queues, Board(), identity)
    await presence.register()
    presence._steady_since -= 60
    peer = await register(connection)
    leap = "update relays set seen_at = seen_at - interval '10 s' where id = $1"
    await connection.execute(leap, peer)
    await presence._beat()
    await connection.execute("update relays set seen_at = clock_timestamp() where id = $1", peer)
    await asyncio.sleep(1.6)
    await presence._beat()
    await connection.execute(leap, peer)
    await presence._beat()
    assert await connection.fetchval("select count(*) from relays") == 2


@pytest.mark.parametrize(
    "seen", ["clock_timestamp()", "clock_timestamp() + interval '10 days'", "clock_timestamp() - interval '10 days'"]
)
async def test_a_relay_that_is_silent_is_taken_for_dead_whatever_time_it_wrote(
    connection: Connection, queues: Queues, seen: str
) -> None:
    """The server's clock may have been wrong at the relay's last beat."""
    identity = Identity()
    presence = present(queues, Board(), identity)
    await presence.register()
    presence._steady_since -= 60
    peer = await register(connection)
    await connection.execute(f"update relays set seen_at = {seen} where id = $1", peer)
    await presence._beat()
    assert await connection.fetchval("select count(*) from relays") == 2
    # As if this much time had passed since.
    presence._peers = {relay_id: (since - 5.1, seen_at) for relay_id, (since, seen_at) in presence._peers.items()}
    await presence._beat()
    assert await connection.fetchval("select array_agg(id) from relays") == [identity.relay_id]


async def test_a_registration_whose_answer_is_lost_is_made_again(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = await open_queues(database_url)
    identity = Identity()
    presence = present(queues, Board(), identity)
    execute = Statement.execute
    lost: list[object] = []

    async def unanswered(statement: Statement, executor: object, **values: object) -> str:
        done = await execute(statement, executor, **values)  # type: ignore[arg-type]
        if statement.name == "presence.register" and not lost:
            lost.append(values["id"])
            raise asyncpg.ConnectionDoesNotExistError("cut off")
        return done

    try:
        await presence.register()
        await connection.execute("delete from relays")
        monkeypatch.setattr(Statement, "execute", unanswered)
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await presence._beat()
        await presence._beat()
        await presence._beat()
    finally:
        await queues.close()
    # The relay uses an id that is listed.
    assert identity.relay_id != lost[0]
    assert await connection.fetchval("select exists (select from relays where id = $1)", identity.relay_id)


async def test_which_backend_a_relay_listens_on_is_known_before_it_leads(
    connection: Connection, relays: Relays
) -> None:
    await relays.start(1)
    holder = (
        "select pid from pg_locks where locktype = 'advisory' and classid = 1246712659 and objid = 1 and granted"
        f" and {THIS_DATABASE}"
    )
    for _ in range(3):
        before = await connection.fetchval(holder)
        await connection.execute("select pg_terminate_backend($1)", before)

        async def leads_anew(before: int = before) -> bool:
            return await connection.fetchval(holder) not in (None, before)

        await until(leads_anew, "it leads on another connection")
        assert await connection.fetchval(f"select listen_pid = ({holder}) from relays")
