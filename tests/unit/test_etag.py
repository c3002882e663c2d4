import pytest

from service.platform.etag import Tags, tag_of


def test_a_tag_is_quoted_and_differs_with_the_representation() -> None:
    assert tag_of({"a": 1}) == tag_of({"a": 1}) != tag_of({"a": 2})
    assert tag_of({}).startswith('"')
    assert tag_of({}).endswith('"')


@pytest.mark.parametrize("header", ['"a"', '"x", "a"', ' "x" ,, "a" ', '"x","a",', "*", '"a,b", "a"'])
def test_a_list_or_a_star_matches(header: str) -> None:
    assert Tags.parse(header).match('"a"')


@pytest.mark.parametrize("header", ['"b"', 'W/"a"', '"x,a"', '""'])
def test_other_tags_and_weak_ones_do_not_match(header: str) -> None:
    assert not Tags.parse(header).match('"a"')


def test_a_weak_tag_still_says_that_the_content_is_known() -> None:
    assert Tags.parse('W/"a"').match_weakly('"a"')
    assert not Tags.parse('W/"b"').match_weakly('"a"')


@pytest.mark.parametrize(
    "header", ["", " ", ",", "a", '"a', 'a"', 'w/"a"', '"a "', '"a" "b"', '*, "a"', "**", '"a\x00"']
)
def test_what_is_no_list_of_tags_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="entity tags"):
        Tags.parse(header)
