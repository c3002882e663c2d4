"""Large bodies are parsed without holding up other requests."""

import gc

import orjson
import pytest

from service.api.parsing import loads
from service.inventory import models
from service.inventory.models import MAX_ATTRIBUTES_BYTES, ItemCreate


def test_the_garbage_collector_does_not_run_while_a_body_is_parsed() -> None:
    raw = b"[" + b",".join([b"[]"] * 200_000) + b"]"
    collections = 0

    def count(phase: str, _: object) -> None:
        nonlocal collections
        collections += phase == "start"

    gc.callbacks.append(count)
    try:
        value = loads(raw)
        found = collections
    finally:
        gc.callbacks.remove(count)
    assert (len(value), found) == (200_000, 0)
    assert gc.isenabled()


def test_the_garbage_collector_goes_on_after_a_body_that_is_no_json() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        loads(b"[")
    assert gc.isenabled()
    gc.disable()
    try:
        loads(b"[]")
        assert not gc.isenabled()
    finally:
        gc.enable()


class _Unspelled(str):
    """A key that raises if a message is made of it."""

    def __format__(self, _: str) -> str:
        raise AssertionError("the place of a value was spelled although nothing is wrong there")


def test_the_place_of_an_attribute_is_spelled_only_where_something_is_wrong() -> None:
    models._check_attributes({_Unspelled("key"): [1, "x", {"y": []}]}, None, 1, iter(range(100)))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"a": [1, {"b": "\x00"}]}, "attributes.a[1].b holds U+0000"),
        ({"a": {"b\x00": 1}}, "a key of attributes.a holds U+0000"),
        ({"\ud800": 1}, "a key of attributes holds a lone surrogate"),
        ({"a": "x" * MAX_ATTRIBUTES_BYTES}, f"at most {MAX_ATTRIBUTES_BYTES} bytes of JSON"),
        ({"x" * (MAX_ATTRIBUTES_BYTES + 1): 1}, f"at most {MAX_ATTRIBUTES_BYTES} bytes of JSON"),
    ],
)
def test_what_is_wrong_with_attributes_is_told_with_its_place(attributes: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match="attributes") as error:
        ItemCreate.model_validate({"name": "x", "attributes": attributes})
    assert expected in str(error.value)
