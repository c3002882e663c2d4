"""Ids: UUIDv7 strings, so that they sort by the time they were made."""

import re
from uuid import UUID

import uuid_utils

_CANONICAL = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def new_id() -> UUID:
    return UUID(bytes=uuid_utils.uuid7().bytes)


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in its canonical spelling."""
    return _CANONICAL.fullmatch(text) is not None


def parse_id(text: str) -> UUID | None:
    """The UUID that `text` is, in its canonical spelling, or None."""
    return UUID(text) if is_id(text) else None
