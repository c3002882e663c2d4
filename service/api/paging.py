"""Pages of lists: ?skip&limit, or an opaque ?cursor, with the total and RFC 8288 links in headers.

A cursor names the last row of the page before. So no row is missed or shown twice, even if rows
come and go meanwhile. The next page is read from an index, beginning at that row. An empty cursor
asks for the first page.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar
from uuid import UUID

from aiohttp import web
from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from service.api.counts import Total
from service.api.fields import MAX_INTEGER, Query
from service.api.order import BY_ID, Order, Place

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_POSITION = 2**63 - 1
_FIRST_ID = UUID(int=0)
# The kind of list that a cursor belongs to. A cursor of another kind is refused.
_ID, _POSITION, _NEWEST = b"i", b"p", b"n"
_POSITION_BYTES = 8
# Later than every row that will ever exist.
_END = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A position of the log, and the id of the event there. After a restore, the log may have another
# event at that position.
Position = tuple[int, UUID]
_FOREIGN = "is not a cursor of this list; take it from the Link header of the page before"
_MAX_PLACE_CHARS = 4200
# A row's time and its id. The id distinguishes rows of the same microsecond.
Newest = tuple[datetime, UUID]


class Page(Query):
    skip: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class OptionalPage(Query):
    """Parameters of a list that is returned whole, unless `skip` or `limit` asks for a page."""

    skip: Annotated[int, Field(ge=0, le=MAX_INTEGER)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = None

    @property
    def page(self) -> Page | None:
        if self.skip is None and self.limit is None:
            return None
        return Page(skip=self.skip or 0, limit=self.limit or DEFAULT_LIMIT)


def _encode(kind: bytes, key: bytes) -> str:
    return base64.urlsafe_b64encode(kind + key).rstrip(b"=").decode()


def _decode(kind: bytes, size: int, text: str) -> bytes:
    """The key of `size` bytes in a cursor. Raises ValueError for a text that `_encode` did not
    make."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    key = raw[len(kind) :]
    if not raw.startswith(kind) or len(key) != size or _encode(kind, key) != text:
        raise ValueError(_FOREIGN)
    return key


def _id_after(text: Any) -> UUID:
    return _FIRST_ID if text == "" else UUID(bytes=_decode(_ID, len(_FIRST_ID.bytes), str(text)))


def _position_before(text: Any) -> Position:
    if text == "":
        return MAX_POSITION, _FIRST_ID
    key = _decode(_POSITION, _POSITION_BYTES + len(_FIRST_ID.bytes), str(text))
    position = int.from_bytes(key[:_POSITION_BYTES], "big")
    if position > MAX_POSITION:
        raise ValueError(_FOREIGN)
    return position, UUID(bytes=key[_POSITION_BYTES:])


def _newest_before(text: Any) -> Newest:
    if text == "":
        return _END
    key = _decode(_NEWEST, _POSITION_BYTES + len(_FIRST_ID.bytes), str(text))
    try:
        at = _EPOCH + timedelta(microseconds=int.from_bytes(key[:_POSITION_BYTES], "big", signed=True))
    except OverflowError:
        raise ValueError(_FOREIGN) from None
    return at, UUID(bytes=key[_POSITION_BYTES:])


def _key(last: UUID | Position | Newest | Place) -> str:
    if isinstance(last, Place):
        return last.encode() if last.order != BY_ID else _encode(_ID, last.id.bytes)
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
    """A page of a list that is ordered by id: `where id > :after order by id`."""

    cursor: _IdCursor | None = None

    @property
    def after(self) -> UUID:
        """The id after which the page begins."""
        return self.cursor or _FIRST_ID


class PositionPage(_CursorPage):
    """A page of a list that is ordered by position, newest first: `where position < :before order
    by position desc`."""

    cursor: _PositionCursor | None = None

    @property
    def before(self) -> int:
        """The position before which the page begins."""
        return MAX_POSITION if self.cursor is None else self.cursor[0]

    @property
    def event_id(self) -> UUID | None:
        """The id of the event at that position. None if the page begins with the newest event."""
        return None if self.cursor is None or self.cursor[0] == MAX_POSITION else self.cursor[1]


class NewestPage(_CursorPage):
    """A page of a list that is ordered by time, newest first: `where (at, id) < (:before_at,
    :before_id) order by at desc, id desc`."""

    cursor: _NewestCursor | None = None

    @property
    def before(self) -> dict[str, datetime | UUID]:
        """The parameters before_at and before_id."""
        at, id = self.cursor or _END
        return {"before_at": at, "before_id": id}


class SortedPage(_CursorPage):
    """A page of a list that has several orders.

    A subclass narrows `sort` to the columns in KINDS, each also with `-` before it. Without `sort`,
    the list is ordered by id.
    """

    KINDS: ClassVar[Mapping[str, type]] = {}
    sort: str | None = None
    cursor: Annotated[str, Field(max_length=_MAX_PLACE_CHARS)] | None = None

    @field_validator("cursor")
    @classmethod
    def _of_this_order(cls, cursor: str | None, info: ValidationInfo) -> str | None:
        if cursor:
            sort = info.data.get("sort")
            if sort is None:
                _id_after(cursor)
            elif str(cls._place(cursor).order) != sort:
                raise ValueError("is a cursor of another order of this list")
        return cursor

    @classmethod
    def _place(cls, cursor: str) -> Place:
        try:
            return Place.decode(cursor, cls.KINDS)
        except ValueError:
            raise ValueError(_FOREIGN) from None

    @property
    def order(self) -> Order:
        return BY_ID if self.sort is None else Order.parse(self.sort)

    @property
    def after(self) -> Place | None:
        """The place after which the page begins, or None if it begins at the first row. In the
        order by id, the key of the place is empty."""
        if not self.cursor:
            return None
        if self.sort is None:
            return Place(self.order, "", _id_after(self.cursor))
        return self._place(self.cursor)


def cursor_link(
    request: web.Request,
    page: IdPage | PositionPage | NewestPage | SortedPage,
    keys: Sequence[UUID] | Sequence[Position] | Sequence[Newest] | Sequence[Place],
) -> str | None:
    """The link to the next page. None if there is none. `keys` are the keys of this page's rows:
    ids, positions, times or places, as the class of the page says."""
    if len(keys) < page.limit:
        return None
    url = request.rel_url.without_query_params("skip").update_query(cursor=_key(keys[-1]), limit=str(page.limit))
    return f'<{url}>; rel="next"'


def cursor_page_headers(
    request: web.Request,
    page: IdPage | NewestPage | SortedPage,
    total: Total,
    keys: Sequence[UUID] | Sequence[Newest] | Sequence[Place],
) -> dict[str, str]:
    """Like page_headers. If the request has a cursor, the links have cursors, too."""
    if page.cursor is None:
        return page_headers(request, page, total, full=len(keys) == page.limit)
    url = request.rel_url.without_query_params("skip").update_query(cursor="", limit=str(page.limit))
    links = [f'<{url}>; rel="first"', cursor_link(request, page, keys)]
    return {**_total_headers(total), "Link": ", ".join(link for link in links if link)}


def page_headers(request: web.Request, page: Page, total: Total, *, full: bool = False) -> dict[str, str]:
    """The headers `X-Total-Count`, and `Link` with those of first, prev, next and last that exist
    and are known. `full` says that the page has as many rows as it may have."""
    skips = {"first": 0}
    if not total.is_minimum:
        skips["last"] = max(0, (total.rows - 1) // page.limit * page.limit)
    if page.skip > 0:
        skips["prev"] = max(0, page.skip - page.limit)
    if page.skip + page.limit < total.rows or (total.is_minimum and full):
        skips["next"] = page.skip + page.limit
    links = []
    for relation, skip in skips.items():
        url = request.rel_url.update_query(skip=str(skip), limit=str(page.limit))
        links.append(f'<{url}>; rel="{relation}"')
    return {**_total_headers(total), "Link": ", ".join(links)}


def _total_headers(total: Total) -> dict[str, str]:
    headers = {"X-Total-Count": str(total.rows)}
    if total.is_minimum:
        headers["X-Total-Count-Is-Minimum"] = "true"
    return headers
