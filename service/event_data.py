"""What all types of events have in common. Field names are the wire's."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from service.platform import canonical
from service.platform.canonical import Json
from service.platform.clock import iso

Changes = dict[str, dict[str, "str | int | bool | None"]]


class EventData(BaseModel):
    """What an event carries. `type` is its name on the wire."""

    model_config = ConfigDict(frozen=True)

    type: ClassVar[str]
    summary: ClassVar[str]

    def serialise(self) -> str:
        """The text that is stored, signed and sent. Raises canonical.NotReproducible."""
        return canonical.dumps(self.on_the_wire())

    def on_the_wire(self) -> dict[str, Json]:
        """The object that the text is of."""
        return {name: _wire(getattr(self, name)) for name in type(self).model_fields}


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
