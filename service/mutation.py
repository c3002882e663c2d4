"""One mutation: its rows, its events and its audit record, in one transaction."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from service.delivery.subject import Subject, columns
from service.events.data import EventData
from service.platform.canonical import MAX_DATA_BYTES, NotReproducible
from service.platform.clock import iso
from service.platform.db import Pool
from service.platform.errors import BadRequest, PreconditionFailed, Unprocessable
from service.platform.etag import Tags, tag_of
from service.platform.ids import new_id
from service.platform.queries import Connection, load
from service.platform.server_clock import SERVER_CLOCK

_SQL = load("mutation")
# By one statement: a logout from thousands of sessions writes thousands.
EVENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Origin:
    """Who or what asks for a mutation, from where, and on what condition. `user_id` is None for what nobody signed in asks: a
    registration, a seed. `if_match`: the tags of which the changed object must have one."""

    user_id: UUID | None = None
    ip_address: str | None = None
    request_id: str | None = None
    traceparent: str | None = None
    if_match: Tags | None = None


@dataclass(slots=True)
class Mutation:
    """What a command writes into besides its own rows. Nothing of it exists unless the transaction commits."""

    connection: Connection
    origin: Origin
    action: str
    _now: datetime | None = None
    _events: list[tuple[str, Subject]] = field(default_factory=list)
    _audits: list[tuple[str, UUID, Mapping[str, Any] | None, Mapping[str, Any] | None]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """When it happens. Taken when it is first asked for, and at the latest when the events are written: the rows are locked by
        then, so that of two mutations of one object the later has the later time. By the database's clock, as far as this process
        knows it."""
        if self._now is None:
            self._now = SERVER_CLOCK.now()
        return self._now

    def emit(self, data: EventData, *, location_ids: list[UUID] | None = None) -> None:
        """Write an event when the mutation ends, after those emitted before it. `location_ids`: the places that it concerns,
        where its data does not say so."""
        try:
            subject = data.subject(location_ids)
        except NotReproducible as error:
            raise BadRequest(str(error)) from None
        size = len(subject.data.encode())
        if size > MAX_DATA_BYTES:
            raise Unprocessable(
                f"this change makes a {data.type} event of {size} bytes, more than {MAX_DATA_BYTES}; make it in two requests"
            )
        self._events.append((data.type, subject))

    def check_match(self, representation: object) -> None:
        """Call it with what the API shows of the object that is about to change, once its row is locked. Raises
        PreconditionFailed where the request has an If-Match header and the object is no longer the one that it names."""
        if self.origin.if_match is not None and not self.origin.if_match.match(tag_of(representation)):
            raise PreconditionFailed("it has been changed since it was read: its ETag is none of those in If-Match")

    def check_match_untagged(self) -> None:
        """The same for an object that is shown without a tag, so that no tag can name it and only `*` matches."""
        if self.origin.if_match is not None and not self.origin.if_match.any:
            raise PreconditionFailed("it has no ETag, so none of those in If-Match is its own")

    def audit(
        self, entity: str, entity_id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        """An object that the mutation changes, before and after it; once for each. Holds no secret: the caller leaves them out."""
        self._audits.append((entity, entity_id, before, after))

    async def write(self) -> None:
        """The events, then the audit records. `mutation` calls it last, when the rows that were changed are locked."""
        event_ids: list[UUID] = []
        for begun in range(0, len(self._events), EVENTS_AT_ONCE):
            events = self._events[begun : begun + EVENTS_AT_ONCE]
            rows = await _SQL.insert_events.fetch(
                self.connection,
                ids=[new_id() for _ in events],
                types=[event_type for event_type, _ in events],
                datas=[subject.data for _, subject in events],
                occurred_at=self.now,
                traceparent=self.origin.traceparent,
                **columns([subject for _, subject in events]),
            )
            event_ids += [row["id"] for row in rows]
        for entity, entity_id, before, after in self._audits:
            await _SQL.insert_audit.execute(
                self.connection,
                actor_id=self.origin.user_id,
                action=self.action,
                entity=entity,
                entity_id=entity_id,
                before=_json(before),
                after=_json(after),
                ip_address=self.origin.ip_address,
                request_id=self.origin.request_id,
                event_ids=event_ids,
            )


@asynccontextmanager
async def mutation(pool: Pool, origin: Origin, action: str) -> AsyncIterator[Mutation]:
    """A transaction for a command. Leaving it writes the events and the audit records and commits; an exception undoes all."""
    async with pool.acquire() as connection, connection.transaction():
        change = Mutation(connection, origin, action)
        yield change
        await change.write()


def _json(value: Mapping[str, Any] | None) -> str | None:
    return (
        None if value is None else orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()
    )


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return iso(value)
    return str(value)
