"""The events that the API has written to the outbox."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import orjson

from service.delivery.subject import Subject, subject_of
from tests.support.database import Connection

# Event types whose data does not name locations.
ELSEWHERE = {
    "checkout-requested",
    "checkout-authorized",
    "checkout-rejected",
    "checkout-cancelled",
    "item-checkout",
    "item-checkin",
}
Outbox = Callable[[], Awaitable[list[tuple[str, dict[str, Any]]]]]


async def events_of(connection: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[str, str]]:
    """Type and data of the events in the outbox, in order. Checks that the stored subject of each
    is the one that a relay would derive."""
    rows = await connection.fetch("select * from outbox order by seq")
    for row in rows:
        location_ids = row["location_ids"] if row["type"] in ELSEWHERE else None
        subject = subject_of(row["type"], row["data"], location_ids)
        assert subject == Subject(
            row["data"],
            row["audience"],
            tuple(map(str, row["location_ids"])),
            row["category_id"] and str(row["category_id"]),
            tuple(map(str, row["user_ids"])),
            row["stock"],
            row["item_id"] and str(row["item_id"]),
        ), row["type"]
    return [(row["type"], row["data"]) for row in rows]


async def take_events(connection: Connection) -> list[tuple[str, str]]:
    """Type and data of the events in the outbox, as stored and in order. Removes them."""
    events = await events_of(connection)
    await connection.execute("delete from outbox")
    return events


def stored(event_type: str, **data: Any) -> tuple[str, str]:
    """An event as `take_events` returns it: compact, with the keys in this order."""
    return event_type, orjson.dumps(data).decode()


async def refuse_commits(connection: Connection) -> None:
    """From now on, a mutation of items fails at its commit if it has written an event."""
    # The trigger is deferred, so it fires at the commit.
    await connection.execute(
        """
        create function refuse() returns trigger language plpgsql as $$
        begin
          if exists (select from outbox) then raise 'refused at the commit'; end if;
          return null;
        end $$;
        create constraint trigger refuse after insert or update or delete on items
          deferrable initially deferred for each row execute function refuse();
        """
    )
