"""The header Retry-After, as receivers send it. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from service.delivery.backoff import MAX_DELAY_MS

_MAX_DIGITS = 12


def retry_after_ms(headers: bytes | None, now: datetime) -> int | None:
    """For how many milliseconds the receiver asks for a pause, at most a day. None if it does not
    ask, or if its wish cannot be read.

    `headers`: lines as `name: value`. If Retry-After is a date, it is compared with the response's
    own Date, because the receiver's clock need not agree with ours. `now` is used if there is no
    Date.
    """
    asked = _value(headers, b"retry-after")
    if asked is None:
        return None
    if asked.isascii() and asked.isdigit():
        return min(int(asked[:_MAX_DIGITS]) * 1000, MAX_DELAY_MS)
    moment = _date(asked)
    if moment is None:
        return None
    sent_at = _value(headers, b"date")
    reference = (_date(sent_at) if sent_at else None) or now
    return max(0, min(int((moment - reference).total_seconds() * 1000), MAX_DELAY_MS))


def _value(headers: bytes | None, wanted: bytes) -> str | None:
    for line in (headers or b"").split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == wanted:
            return value.strip().decode("latin-1")
    return None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
