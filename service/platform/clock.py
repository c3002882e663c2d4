"""Times as the outside sees them."""

from datetime import UTC, datetime

import orjson

# asyncpg takes the very first and the very last for infinities, and an offset may lead beyond them.
_FIRST = datetime(1, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, as JavaScript's toISOString writes it."""
    # Done for each delivery, and orjson takes a seventh of the time of what datetime has for it.
    text = orjson.dumps(moment.astimezone(UTC), option=orjson.OPT_UTC_Z).decode()
    # In quotes: seconds, and microseconds where there are any.
    return text[1:24] + "Z" if moment.microsecond else text[1:20] + ".000Z"


def iso_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def parse_moment(text: str) -> datetime:
    """The moment that an ISO 8601 time with its offset stands for, in UTC; the first or last that a column can hold beside an
    interval, where it is beyond. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time in ISO 8601, such as 2026-02-18T09:30:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("must say its offset from UTC, as in 2026-02-18T09:30:00Z")
    if moment < _FIRST:
        return _FIRST
    return _LAST if moment > _LAST else moment.astimezone(UTC)
