"""Times as the outside sees them."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, as JavaScript's toISOString writes it."""
    utc = moment.astimezone(UTC)
    # Done for each delivery. isoformat takes nearly twice as long, for the offset that is not wanted here; so does an f-string.
    date = utc.year, utc.month, utc.day
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (*date, utc.hour, utc.minute, utc.second, utc.microsecond // 1000)  # noqa: UP031


def iso_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
