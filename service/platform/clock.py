"""Times as the outside sees them."""

from datetime import UTC, datetime

# asyncpg takes the very first and the very last for infinities, and an offset may lead beyond them.
_FIRST = datetime(1, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, as JavaScript's toISOString writes it."""
    utc = moment.astimezone(UTC)
    # Done for each delivery. isoformat takes nearly twice as long, for the offset that is not wanted here; so does an f-string.
    date = utc.year, utc.month, utc.day
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (*date, utc.hour, utc.minute, utc.second, utc.microsecond // 1000)  # noqa: UP031


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
