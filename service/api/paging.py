"""Pages of lists: ?skip&limit, or an opaque ?cursor, with the total and RFC 8288 links in headers.

A cursor names the last row of the page before, so no row is missed or shown twice however many come and go meanwhile, and the
page is read from an index where that row stands. An empty one begins.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from service.api.fields import MAX_INTEGER, Query

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_POSITION = 2**63 - 1
_FIRST_ID = UUID(int=0)
# What a cursor is of, so that one of another kind of list is refused.
_ID, _POSITION, _NEWEST = b"i", b"p", b"n"
_POSITION_BYTES = 8
# After every row that there will be.
_END = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A position of the log and its event's id, by which it is known again.
Position = tuple[int, UUID]
# A row's time and its id, which tells rows of the same microsecond apart.
Newest = tuple[datetime, UUID]


class Page(Query):
    skip: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


def _encode(kind: bytes, key: bytes) -> str:
    return base64.urlsafe_b64encode(kind + key).rstrip(b"=").decode()


def _decode(kind: bytes, size: int, text: str) -> bytes:
    """The key in a cursor; exactly what `_encode` gave, or a ValueError."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    key = raw[len(kind) :]
    if not raw.startswith(kind) or len(key) != size or _encode(kind, key) != text:
        raise ValueError("is not a cursor of this list; take it from the Link header of the page before")
    return key


def _id_after(text: Any) -> UUID:
    return _FIRST_ID if text == "" else UUID(bytes=_decode(_ID, len(_FIRST_ID.bytes), str(text)))


def _position_before(text: Any) -> Position:
    if text == "":
        return MAX_POSITION, _FIRST_ID
    key = _decode(_POSITION, _POSITION_BYTES + len(_FIRST_ID.bytes), str(text))
    return int.from_bytes(key[:_POSITION_BYTES], "big"), UUID(bytes=key[_POSITION_BYTES:])


def _newest_before(text: Any) -> Newest:
    if text == "":
        return _END
    key = _decode(_NEWEST, _POSITION_BYTES + len(_FIRST_ID.bytes), str(text))
    try:
        at = _EPOCH + timedelta(microseconds=int.from_bytes(key[:_POSITION_BYTES], "big", signed=True))
    except OverflowError:
        raise ValueError("is not a cursor of this list; take it from the Link header of the page before") from None
    return at, UUID(bytes=key[_POSITION_BYTES:])


def _key(last: UUID | Position | Newest) -> str:
    if isinstance(last, UUID):
        return _encode(_ID, last.bytes)
    first, id = last
    if isinstance(first, int):
        return _encode(_POSITION, first.to_bytes(_POSITION_BYTES, "big") + id.bytes)
    since = (first - _EPOCH) // timedelta(microseconds=1)
    return _encode(_NEWEST, since.to_bytes(_POSITION_BYTES, "big", signed=True) + id.bytes)


_OPAQUE = WithJsonSchema({"type": "string", "maxLength": 64})
_IdCursor = Annotated[UUID, BeforeValidator(_id_after), _OPAQUE]
_NewestCursor = Annotated[Newest, BeforeValidator(_newest_before), _OPAQUE]
_PositionCursor = Annotated[Position, BeforeValidator(_position_before), _OPAQUE]


class _CursorPage(Page):
    @model_validator(mode="after")
    def _one_way_to_page(self) -> "_CursorPage":
        if self.skip and "cursor" in self.model_fields_set:
            raise ValueError("cursor and skip are two ways to page; give one of them")
        return self


class IdPage(_CursorPage):
    """Of a list that is ordered by id: `where id > :after order by id`."""

    cursor: _IdCursor | None = None

    @property
    def after(self) -> UUID:
        """The id after which the page begins."""
        return self.cursor or _FIRST_ID


class PositionPage(_CursorPage):
    """Of a list that is ordered by position, newest first: `where position < :before order by position desc`."""

    cursor: _PositionCursor | None = None

    @property
    def before(self) -> int:
        """The position before which the page begins."""
        return MAX_POSITION if self.cursor is None else self.cursor[0]

    @property
    def event_id(self) -> UUID | None:
        """Of the event that stands at that position; None where the page begins with the newest."""
        return None if self.cursor is None or self.cursor[0] == MAX_POSITION else self.cursor[1]


class NewestPage(_CursorPage):
    """Of a list that is ordered by time, newest first: `where (at, id) < (:before_at, :before_id) order by at desc, id desc`."""

    cursor: _NewestCursor | None = None

    @property
    def before(self) -> dict[str, datetime | UUID]:
        """The parameters before_at and before_id."""
        at, id = self.cursor or _END
        return {"before_at": at, "before_id": id}


def cursor_link(
    request: web.Request,
    page: IdPage | PositionPage | NewestPage,
    keys: Sequence[UUID] | Sequence[Position] | Sequence[Newest],
) -> str | None:
    """The link to the page after the one with these keys, as the page's own; None where there is none."""
    if len(keys) < page.limit:
        return None
    url = request.rel_url.without_query_params("skip").update_query(cursor=_key(keys[-1]), limit=str(page.limit))
    return f'<{url}>; rel="next"'


def cursor_page_headers(
    request: web.Request, page: IdPage | NewestPage, total: int, keys: Sequence[UUID] | Sequence[Newest]
) -> dict[str, str]:
    """As page_headers; asked with a cursor, the links have cursors, too."""
    if page.cursor is None:
        return page_headers(request, page, total)
    url = request.rel_url.without_query_params("skip").update_query(cursor="", limit=str(page.limit))
    links = [f'<{url}>; rel="first"', cursor_link(request, page, keys)]
    return {"X-Total-Count": str(total), "Link": ", ".join(link for link in links if link)}


def page_headers(request: web.Request, page: Page, total: int) -> dict[str, str]:
    """`X-Total-Count`, and `Link` with first, prev, next and last where they exist."""
    last = max(0, (total - 1) // page.limit * page.limit)
    targets = {"first": 0, "last": last}
    if page.skip > 0:
        targets["prev"] = max(0, page.skip - page.limit)
    if page.skip + page.limit < total:
        targets["next"] = page.skip + page.limit
    links = []
    for relation, skip in targets.items():
        url = request.rel_url.update_query(skip=str(skip), limit=str(page.limit))
        links.append(f'<{url}>; rel="{relation}"')
    return {"X-Total-Count": str(total), "Link": ", ".join(links)}
