"""Where a reader of the stream stands: a position of the log, and the id of the event there, by which it is known again."""

import re
from dataclasses import dataclass
from uuid import UUID

from service.platform.errors import Gone

EARLIEST = "earliest"
# A number alone is taken, too: the position of an event, say. What the stream gives has the id.
PATTERN = r"^(?:earliest|[0-9]{1,18}(?:-[0-9a-f]{32})?)$"
_GIVEN = re.compile(r"([0-9]{1,18})(?:-([0-9a-f]{32}))?")
LOST = (
    "the database has been restored from a backup since {what} was given, and has another event there, or none. "
    "{go_on}, and drop what you have already by its id"
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """After this position; `event_id` where it is known."""

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
        """`here`: the event at its position in the log, which reaches from `earliest` to `head`; `begins`: an epoch begins after
        it. Raises Gone."""
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
