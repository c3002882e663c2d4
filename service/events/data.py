"""The base class of the data of all event types. The names of fields are the keys of the JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from service.delivery.subject import Subject, subject_of_value
from service.platform import canonical
from service.platform.canonical import Json
from service.platform.clock import iso

Changes = dict[str, dict[str, "str | int | bool | None"]]


class EventData(BaseModel):
    """The data of an event. `type` is the name of the event type, as receivers get it.

    `example` has values of fields for the documents. A field that is not in it has the value that
    service/documents/examples.py gives to all fields of its name."""

    model_config = ConfigDict(frozen=True)

    type: ClassVar[str]
    summary: ClassVar[str]
    example: ClassVar[Mapping[str, Json]] = {}

    def subject(self, location_ids: list[UUID] | None = None) -> Subject:
        """The canonical text of the data, which is stored, signed and sent, with the event's
        subject. `location_ids` are the locations that the event concerns, if its data does not name
        them. Raises canonical.NotReproducible."""
        value = {name: _wire(getattr(self, name)) for name in type(self).model_fields}
        return subject_of_value(self.type, canonical.dumps(value), value, location_ids)


def _wire(value: object) -> Json:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return iso(value)
        case Mapping():
            return {str(key): _wire(inner) for key, inner in value.items()}
        case None | bool() | int() | str():
            return value
    raise TypeError(f"{type(value).__name__} has no form on the wire")
