"""What all types of events have in common. Field names are the wire's."""

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
    """What an event carries. `type` is its name on the wire. `example` has the values of fields in the documents; a field that is
    not in it has the value that service/documents/examples.py gives to all fields of that name."""

    model_config = ConfigDict(frozen=True)

    type: ClassVar[str]
    summary: ClassVar[str]
    example: ClassVar[Mapping[str, Json]] = {}

    def subject(self, location_ids: list[UUID] | None = None) -> Subject:
        """The text that is stored, signed and sent, and what it is about. `location_ids`: the places that it concerns, where the
        text does not say so. Raises canonical.NotReproducible."""
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
