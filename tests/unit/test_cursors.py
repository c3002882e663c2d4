"""Cursors are opaque, and only cursors that were given out are accepted."""

from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.api.paging import MAX_POSITION, IdPage, PositionPage, cursor_link

ID = UUID("01890000-0000-7000-8000-000000000000")


def _cursor(page: IdPage | PositionPage, keys: list[UUID] | list[tuple[int, UUID]]) -> str:
    request: web.BaseRequest = make_mocked_request("GET", "/api/v1/things?status=x&skip=0")
    link = cursor_link(request, page, keys)  # type: ignore[arg-type]  # a mocked request is as good
    assert link is not None
    assert "status=x" in link
    assert "skip" not in link
    return link.partition("cursor=")[2].partition("&")[0].partition(">")[0]


@given(st.uuids())
def test_an_id_goes_there_and_back(key: UUID) -> None:
    assert IdPage.model_validate({"cursor": _cursor(IdPage(limit=1), [key])}).after == key


@given(st.integers(0, MAX_POSITION - 1), st.uuids())
def test_a_position_goes_there_and_back_with_its_event(key: int, event_id: UUID) -> None:
    page = PositionPage.model_validate({"cursor": _cursor(PositionPage(limit=1), [(key, event_id)])})
    assert (page.before, page.event_id) == (key, event_id)


def test_a_page_that_is_not_full_is_the_last() -> None:
    request = make_mocked_request("GET", "/")
    assert cursor_link(request, IdPage(limit=2), [ID]) is None
    assert cursor_link(request, IdPage(limit=2), []) is None


def test_an_empty_cursor_is_the_beginning() -> None:
    assert IdPage.model_validate({"cursor": ""}).after == IdPage().after < ID
    assert PositionPage.model_validate({"cursor": ""}).before == MAX_POSITION


GOOD = _cursor(IdPage(limit=1), [ID])
OF_POSITIONS = _cursor(PositionPage(limit=1), [(7, ID)])


@pytest.mark.parametrize(
    "text",
    ["x", "ü", "=", GOOD + "=", GOOD[:-1], GOOD + "A", GOOD[:-1] + "B", GOOD + "\n", f" {GOOD}", str(ID), OF_POSITIONS],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="cursor"):
        IdPage.model_validate({"cursor": text})


@given(st.text(max_size=30).filter(bool))
def test_no_text_is_taken_for_a_cursor_of_something_else(text: str) -> None:
    try:
        page = IdPage.model_validate({"cursor": text})
    except ValidationError:
        return
    assert _cursor(IdPage(limit=1), [page.after]) == text


def test_skip_does_not_go_with_a_cursor() -> None:
    with pytest.raises(ValidationError, match="two ways"):
        IdPage.model_validate({"cursor": GOOD, "skip": "1"})
    assert IdPage.model_validate({"cursor": GOOD, "skip": "0"}).after == ID
