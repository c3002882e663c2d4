"""Collects the events and the audit records of a mutation, and writes them as parameters of the SQL
function record_mutation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from service.delivery.subject import Subject
from service.platform.clock import iso
from service.platform.etag import Tags

# How many events, and how many audit records, one call of record_mutation writes at most. A logout
# from thousands of sessions writes thousands of events.
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Origin:
    """The user or program that asks for a mutation, its address, and its If-Match condition. This
    is not the origin of a URL.

    `user_id` is None if nobody is signed in, as for a registration or a seed. `traceparent` goes
    with the events. The changed object must have one of the tags in `if_match`, if that is not
    None.
    """

    user_id: UUID | None = None
    ip_address: str | None = None
    request_id: str | None = None
    traceparent: str | None = None
    if_match: Tags | None = None


@dataclass(slots=True)
class _Part:
    events: list[dict[str, Any]] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Call:
    """The events and the audit records of one call. If it `continues`, the calls before have
    written some of the events that its audit records name."""

    origin: Origin
    continues: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)

    def has_room(self, events: int, audits: int) -> bool:
        return len(self.events) + events <= AT_ONCE and len(self.audits) + audits <= AT_ONCE

    def add(self, events: list[dict[str, Any]], audits: list[dict[str, Any]], *, earlier: int) -> None:
        """`earlier` is how many events of the same part were written by calls before."""
        first = len(self.events) + 1
        self.events += events
        last = len(self.events) + earlier
        self.audits += [{**audit, "first": first, "last": last} for audit in audits]

    def parameters(self, earlier: Sequence[UUID] = ()) -> dict[str, str]:
        """The parameters of record_mutation. `earlier` are the ids of the events of its part that
        are written already."""
        return {
            "events": _json(self.events),
            "audits": _json(self.audits),
            "author": _json(
                {
                    "actor_id": self.origin.user_id,
                    "ip_address": self.origin.ip_address,
                    "request_id": self.origin.request_id,
                    "traceparent": self.origin.traceparent,
                    "earlier": earlier,
                }
            ),
        }


class Records:
    """The events and the audit records of a mutation. A mutation of several changes has a part for
    each, and an audit record names the events of its part."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._part = _Part()
        self._parts = [self._part]

    def begin_part(self) -> None:
        self._part = _Part()
        self._parts.append(self._part)

    def drop_part(self) -> None:
        """Forgets what was collected since `begin_part`."""
        self._parts.pop()
        self._part = self._parts[-1]

    def event(self, event_type: str, subject: Subject) -> None:
        self._part.events.append({"type": event_type, **subject._asdict()})

    def audit(
        self,
        action: str,
        entity: str,
        entity_id: UUID,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        self._part.audits.append(
            {"action": action, "entity": entity, "entity_id": entity_id, "before": before, "after": after}
        )

    def calls(self) -> list[Call]:
        """The calls that write everything, in this order."""
        calls: list[Call] = [Call(self._origin)]
        for part in self._parts:
            *full, rest = [part.events[n : n + AT_ONCE] for n in range(0, len(part.events), AT_ONCE)] or [[]]
            calls += [Call(self._origin, bool(n), chunk) for n, chunk in enumerate(full)]
            if full or calls[-1].continues or not calls[-1].has_room(len(rest), len(part.audits)):
                calls.append(Call(self._origin, bool(full)))
            calls[-1].add(rest, part.audits, earlier=sum(map(len, full)))
        return [call for call in calls if call.events or call.audits]


def _json(value: object) -> str:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return iso(value)
    return str(value)


# The parameters of a write whose events and audit records are written later.
NOTHING = Call(Origin()).parameters()
