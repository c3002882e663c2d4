"""A mutation writes a command's rows, its events and its audit records in one transaction."""

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
# How many events one statement writes. A logout from thousands of sessions writes thousands of
# events.
EVENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Origin:
    """The user or program that asks for a mutation, its address, and its If-Match condition. This
    is not the origin of a URL.

    `user_id` is None if nobody is signed in, as for a registration or a seed. The changed object
    must have one of the tags in `if_match`, if that is not None.
    """

    user_id: UUID | None = None
    ip_address: str | None = None
    request_id: str | None = None
    traceparent: str | None = None
    if_match: Tags | None = None


@dataclass(slots=True)
class Mutation:
    """Collects a command's events and audit records. They are written in the transaction of the
    command's rows, so they exist only if it commits."""

    connection: Connection
    origin: Origin
    action: str
    _now: datetime | None = None
    _events: list[tuple[str, Subject]] = field(default_factory=list)
    _audits: list[tuple[str, UUID, Mapping[str, Any] | None, Mapping[str, Any] | None]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The time of the mutation, by the database's clock as far as this process knows it.

        The time is taken at the first call, or at the latest when the events are written. The rows
        are locked by then. So in one process, the later of two mutations of an object has the later
        time, unless the clock was set back. The times of two processes are in order as far as their
        estimates of the database's clock agree.
        """
        if self._now is None:
            self._now = SERVER_CLOCK.now()
        return self._now

    def emit(self, data: EventData, *, location_ids: list[UUID] | None = None) -> None:
        """Write an event when the mutation ends. Events are written in the order in which they were
        emitted.

        `location_ids` are the locations that the event concerns, if its data does not name them.
        Raises BadRequest if JavaScript would write the data differently, and Unprocessable if it is
        too large.
        """
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
        """Call this with the object as the API shows it, after its row is locked and before it
        changes. Raises PreconditionFailed if the request has an If-Match header that does not name
        the object's present ETag."""
        if self.origin.if_match is not None and not self.origin.if_match.match(tag_of(representation)):
            raise PreconditionFailed("it has been changed since it was read: its ETag is none of those in If-Match")

    def check_match_untagged(self) -> None:
        """The same for an object that the API shows without an ETag. No tag can name it, so only
        `*` matches."""
        if self.origin.if_match is not None and not self.origin.if_match.any:
            raise PreconditionFailed("it has no ETag, so none of those in If-Match is its own")

    def audit(
        self, entity: str, entity_id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        """Record a changed object, before and after the change. Call this once for each object. The
        caller leaves out secrets."""
        self._audits.append((entity, entity_id, before, after))

    async def write(self) -> None:
        """Write the events, then the audit records. `mutation` calls this last, when all changed
        rows are locked."""
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
    """A transaction for a command. The end of the context writes the events and the audit records,
    and commits. An exception undoes everything. `action` is the word for the command in the audit
    trail."""
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
