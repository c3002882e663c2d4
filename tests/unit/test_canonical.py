import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.platform.canonical import MAX_DATA_BYTES, MAX_INTEGER, Json, NotReproducible, dumps, recanonicalise

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
KEY = TEXT.filter(lambda key: key != "__proto__" and not key.isdigit())
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEY, inner, max_size=5),
    max_leaves=20,
)
OBJECT = st.dictionaries(KEY, VALUE)


@given(OBJECT)
def test_what_is_written_reads_back_in_the_same_order(value: dict[str, Json]) -> None:
    read = json.loads(dumps(value))
    assert read == value
    assert list(read) == list(value)


@given(OBJECT)
def test_what_was_written_comes_back_unchanged_from_another_round(value: dict[str, Json]) -> None:
    text = dumps(value)
    assert recanonicalise(text) == (text, value)


def test_is_compact_and_leaves_text_unescaped_as_javascript_does() -> None:
    name = 'Hydraulic “Pump” ½ 漢字 \u2028 "quoted" \\ </script> \x7f \x1f\b\t'
    expected = '{"b":[1,null,true],"a":"Hydraulic “Pump” ½ 漢字 \u2028 \\"quoted\\" \\\\ </script> \x7f \\u001f\\b\\t"}'
    assert dumps({"b": [1, None, True], "a": name}) == expected


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0.5, "not an integer"),
        (1.0, "not an integer"),
        (float("nan"), "not an integer"),
        (MAX_INTEGER + 1, "2^53"),
        (-MAX_INTEGER - 1, "2^53"),
        ("a\x00b", "U+0000"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({"a\x00": 1}, "U+0000"),
        ({"__proto__": 1}, "__proto__"),
        ({"0": 1}, "'0'"),
        ({"42": 1}, "'42'"),
        ({"4294967294": 1}, "moves or drops"),
        (b"bytes", "type"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [[value]], lambda value: {"deep": {"er": value}}])
def test_refuses_what_javascript_would_write_differently(value: Json, says: str, wrap: Callable[[Json], Json]) -> None:
    with pytest.raises(NotReproducible) as refused:
        dumps({"field": wrap(value)})
    assert says in str(refused.value)
    assert "data.field" in str(refused.value)


@pytest.mark.parametrize("key", ["4294967295", "01", "-1", "1.5", "1e3", "٣"])
def test_allows_keys_that_only_resemble_indexes(key: str) -> None:
    assert dumps({key: 1}) == f'{{"{key}":1}}'


def test_refuses_what_is_nested_too_deep() -> None:
    value: dict[str, Json] = {}
    for _ in range(65):
        value = {"in": value}
    with pytest.raises(NotReproducible, match="deep"):
        dumps(value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"text"', "null", '{"a":1.5}', '{"a":NaN}', '{"a":"\\ud800"}', '{"a":"\\u0000"}']
)
def test_refuses_text_of_others_that_is_no_reproducible_object(text: str) -> None:
    with pytest.raises(NotReproducible):
        recanonicalise(text)


def test_makes_the_text_of_others_what_javascript_would() -> None:
    assert recanonicalise(' {"b" : "\\u00e4\\/", "a": 1} ') == ('{"b":"ä/","a":1}', {"b": "ä/", "a": 1})


def test_refuses_text_of_others_that_is_too_large_for_a_body() -> None:
    frame = len('{"a":""}')
    assert recanonicalise(f'{{"a":"{"x" * (MAX_DATA_BYTES - frame)}"}}')
    with pytest.raises(NotReproducible, match="larger"):
        recanonicalise(f'{{"a":"{"x" * (MAX_DATA_BYTES - frame + 1)}"}}')
