"""The cursor of a reader of the stream: a position of the log, and the id of the event there. The
id shows whether the log still has the same event there."""

import re
from dataclasses import dataclass
from uuid import UUID

from service.platform.errors import Gone

EARLIEST = "earliest"
# A number alone is accepted, too, such as the position of an event. A cursor from the stream has
# the id.
PATTERN = r"^(?:earliest|[0-9]{1,18}(?:-[0-9a-f]{32})?)$"
_GIVEN = re.compile(r"([0-9]{1,18})(?:-([0-9a-f]{32}))?")
LOST = (
    "the database has been restored from a backup since {what} was given, and has another event there, or none. "
    "{go_on}, and drop what you have already by its id"
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The reader has all events up to `position`. `event_id` is the event there, if it is known."""

    position: int
    event_id: UUID | None = None

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        found = _GIVEN.fullmatch(text)
        assert found is not None, "the query has been checked"
        position, event_id = found.groups()
        return cls(int(position), None if event_id is None else UUID(hex=event_id))

    def __str__(self) -> str:
        return str(self.position) if self.event_id is None else f"{self.position}-{self.event_id.hex}"

    def check(self, here: UUID | None, *, earliest: int, head: int, begins: bool) -> None:
        """Raises Gone if events after this cursor have been dropped, or if the log has another
        event at its position, or none.

        `here` is the event at this position, if there is one. The log reaches from `earliest` to
        `head`. `begins` says whether an epoch begins after this position: then there need not be an
        event."""
        if self.position < earliest - 1:
            raise Gone(
                f"the log begins at position {earliest}; what came after {self.position} has been dropped in part. "
                f"Go on with ?after={EARLIEST}, and fetch what you lack from the API",
                earliest=str(earliest),
            )
        lost = self.position > head
        if earliest <= self.position <= head:
            lost = not begins if here is None else self.event_id not in (None, here)
        if lost:
            what = f"position {self.position}"
            raise Gone(LOST.format(what=what, go_on=f"Go on with ?after={EARLIEST}"), earliest=str(earliest))
