"""Makes and parses ids. They are UUIDv7, so they sort by the time at which they were made."""

import re
import time
from uuid import UUID

import uuid_utils

_CANONICAL = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
# The library's ids never go back in time. If the clock was ahead and is set back, the library goes
# on with ids of that future time until the clock has reached it. So if the clock is set back by
# less than this, new ids keep their order. If it is set back by more, new ids follow the clock.
PATIENCE_MS = 10_000
_BITS_AFTER_TIME = 80


def new_id() -> UUID:
    """A new UUIDv7, with this host's time."""
    made = int.from_bytes(uuid_utils.uuid7().bytes, "big")
    now = time.time_ns() // 1_000_000
    if (made >> _BITS_AFTER_TIME) - now > PATIENCE_MS:
        made = made & (1 << _BITS_AFTER_TIME) - 1 | now << _BITS_AFTER_TIME
    return UUID(int=made)


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in its canonical spelling."""
    return _CANONICAL.fullmatch(text) is not None


def parse_id(text: str) -> UUID | None:
    """The UUID that `text` spells in the canonical way, or None."""
    return UUID(text) if is_id(text) else None
