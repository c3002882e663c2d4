"""A database that takes beats and claims, and no results: what a disk is like that has room for a changed row and for no new one."""

from service.platform.settings import Settings
from tests.relays import Connection, Receiver, Relays, add_webhook, until, write_event

# As PostgreSQL says it: disk_full.
REFUSE = """
create function refuse() returns trigger language plpgsql
as $$ begin raise exception 'no room for it' using errcode = '53100'; end $$;
create trigger refuse before insert on attempts for each row execute function refuse();
"""


async def _runs_out(connection: Connection) -> None:
    """Every lease does, and the relay sweeps so often between the beats that follow that it would have claimed again."""
    await connection.execute("update deliveries set lease_until = clock_timestamp()")
    since = await connection.fetchval("select clock_timestamp()")

    async def has_beaten() -> bool:
        return bool(
            await connection.fetchval("select seen_at > $1::timestamptz + interval '1 second' from relays", since)
        )

    await until(has_beaten, "the relay goes on beating")


async def test_nothing_is_sent_again_while_results_are_refused(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    """Or each lease that runs out in the meantime would be one more request, until the delivery is taken for one that kills relays."""
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    (relay,) = await relays.start(RELAY_POLL_INTERVAL="100")
    await connection.execute(REFUSE)
    event_id = await write_event(connection)

    async def away() -> bool:
        return any(line["event"] == "the database is away" for line in relay.log())

    await until(away, "the relay cannot record")
    # It may claim once more, as it was asleep when the result was refused.
    await _runs_out(connection)
    sent = len(receiver.arrivals)
    await _runs_out(connection)
    await _runs_out(connection)
    assert len(receiver.arrivals) == sent
    await connection.execute("drop trigger refuse on attempts")
    await relays.idle()
    assert set(receiver.ids()) == {str(event_id)}
    assert await connection.fetchval("select count(*) from attempts where outcome = 'success'") == 1
