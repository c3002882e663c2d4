"""A database that accepts beats and claims, but no results. A disk can be like that: with room for
a changed row, and none for a new one."""

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Receiver
from tests.support.relay.processes import Relays
from tests.support.rows import add_webhook, write_event
from tests.support.waiting import until

# The text of PostgreSQL's disk_full.
REFUSING = """
create sequence refusals;
create function refuse() returns trigger language plpgsql
as $$ begin perform nextval('refusals'); raise exception 'no room for it' using errcode = '53100'; end $$;
"""
# Replacing the function locks nothing of the table, to which the relay goes on writing.
ACCEPTING = "create or replace function refuse() returns trigger language plpgsql as 'begin return new; end'"
REFUSE = "create trigger refuse before insert on {} for each row execute function refuse()"


async def _runs_out(connection: Connection) -> None:
    """Let every lease run out, and wait for the next beats. Meanwhile the relay sweeps so often
    that it would have claimed again."""
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
    """Otherwise each lease that runs out would mean one more request, until the delivery is treated
    as one that crashes relays."""
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    (relay,) = await relays.start(RELAY_POLL_INTERVAL="100")
    await connection.execute(REFUSING)
    await connection.execute(REFUSE.format("attempts"))
    event_id = await write_event(connection)

    async def away() -> bool:
        return any(line["event"] == "the database is away" for line in relay.log())

    await until(away, "the relay cannot record")
    # The relay may have been claiming when its result was refused, so one more claim is allowed.
    await _runs_out(connection)
    sent = len(receiver.arrivals)
    await _runs_out(connection)
    await _runs_out(connection)
    assert len(receiver.arrivals) == sent
    await connection.execute(ACCEPTING)
    await relays.idle()
    assert set(receiver.ids()) == {str(event_id)}
    assert await connection.fetchval("select count(*) from attempts where outcome = 'success'") == 1


async def test_results_are_recorded_once_their_table_is_back(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    (relay,) = await relays.start(RELAY_POLL_INTERVAL="100")
    await connection.execute("alter table attempts rename to attempts_elsewhere")
    await write_event(connection, routed=True)

    async def missed() -> bool:
        return any(line["event"] == "results cannot be recorded" for line in relay.log())

    await until(missed, "the relay cannot record")
    await connection.execute("alter table attempts_elsewhere rename to attempts")
    await relays.idle()
    assert len(receiver.arrivals) == 1
    assert await connection.fetchval("select array_agg(outcome) from attempts") == ["success"]


async def test_results_are_recorded_though_their_type_was_made_anew(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    """As after a restore into the same database: the relay's prepared statements refer to a type
    that is gone."""
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    await relays.start(1)
    await write_event(connection, routed=True)
    await relays.idle()
    columns = await connection.fetchval(
        "select string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum)"
        " from pg_attribute where attrelid = 'attempt_result'::regclass"
    )
    await connection.execute(f"drop type attempt_result; create type attempt_result as ({columns})")
    await write_event(connection, routed=True)
    await relays.idle()
    assert len(receiver.arrivals) == 2
    assert await connection.fetchval("select array_agg(outcome) from attempts") == ["success", "success"]


async def test_a_leader_whose_fan_out_is_refused_goes_on_leading(
    connection: Connection, settings: Settings, relays: Relays, receiver: Receiver
) -> None:
    await add_webhook(connection, settings, receiver.url, ["item-created"])
    (relay,) = await relays.start()
    await connection.execute(REFUSING)
    await connection.execute(REFUSE.format("events"))
    event_id = await write_event(connection)

    def times_logged(event: str) -> int:
        return sum(line["event"] == event for line in relay.log())

    async def away() -> bool:
        return times_logged("the database is away") == 1

    await until(away, "the relay cannot fan out")
    refusals = await connection.fetchval("select last_value from refusals")

    async def asked_again() -> bool:
        return bool(await connection.fetchval("select last_value >= $1 + 2 from refusals", refusals))

    await until(asked_again, "it tries again")
    led = times_logged("leading")
    # At most one more election, on a new connection, if the first refusal met a sleeping leader.
    assert led <= 2
    await connection.execute(ACCEPTING)
    await relays.idle()
    assert receiver.ids() == [str(event_id)]

    async def back() -> bool:
        return times_logged("the database is back") == 1

    await until(back, "the relay says that it is over")
    assert (times_logged("leading"), times_logged("the database is away")) == (led, 1)
