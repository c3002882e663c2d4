"""JavaScript writes back, byte for byte, every JSON text that the service signs."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from relay.send.envelope import envelope
from relay.send.target import Target
from service.delivery import sign
from service.platform import canonical
from service.platform.ids import new_id
from tests.support.programs import Reserialise

MAX_BODY_BYTES = 64 * 1024
LONGEST_TYPE = "a" * 64
# The fixture is one process that keeps nothing from one example to the next.
ONE_PROCESS = settings(
    max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    # Texts that JSON or JavaScript might treat specially.
    st.lists(st.sampled_from(['"', "\\", "/", "\b", "\x0b", "\x1f", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffe", "\\u2028", "</script>", "𐀀", "1e5"])).map("".join),
)  # fmt: skip
keys = st.one_of(
    texts, st.sampled_from(["-1", "01", "1.5", "4294967295", "constructor", "toString", "length", "", " 1"])
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), texts, st.integers(-(2**53), 2**53), st.sampled_from([2**53, -(2**53), 0])),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(keys, inner, max_size=6)),
    max_leaves=30,
)
objects = st.dictionaries(keys, values, max_size=8)


def dumps(value: dict[str, Any]) -> bytes:
    try:
        return canonical.dumps(value).encode()
    except canonical.NotReproducible:
        assume(False)
        raise


def body_of(data: bytes, event_type: str = "item-updated", attempt: int = 1) -> bytes:
    target = Target(
        new_id(),
        1,
        "http://127.0.0.1/",
        max_retries=3,
        retry_delay_ms=5000,
        timeout_ms=30_000,
        secret=sign.new_secret(),
    )
    now = datetime.now(UTC)
    sent = envelope(
        target,
        event_id=new_id(),
        event_type=event_type,
        data=data,
        occurred_at=now,
        attempt=attempt,
        timestamp=int(now.timestamp()),
    )
    return sent.body


@ONE_PROCESS
@given(value=objects)
def test_javascript_writes_back_what_is_accepted(reserialise: Reserialise, value: dict[str, Any]) -> None:
    text = dumps(value)
    assert reserialise(text) == text


@ONE_PROCESS
@given(value=objects)
def test_javascript_finds_the_signed_bytes_in_the_body(reserialise: Reserialise, value: dict[str, Any]) -> None:
    data = dumps(value)
    body = body_of(data)
    assert reserialise(body, "data") == data
    assert reserialise(body) == body


@pytest.mark.parametrize("filling", ["a", "漢", "𐀀", '"', "\x01"])
def test_the_largest_data_makes_a_body_within_64_kib(reserialise: Reserialise, filling: str) -> None:
    empty = len(dumps({"name": ""}))
    each = len(dumps({"name": filling})) - empty
    count, rest = divmod(canonical.MAX_DATA_BYTES - empty, each)
    data = dumps({"name": filling * count + "x" * rest})
    assert len(data) == canonical.MAX_DATA_BYTES
    body = body_of(data, LONGEST_TYPE, attempt=2**31 - 1)
    assert len(body) <= MAX_BODY_BYTES
    assert reserialise(body, "data") == data


@pytest.mark.parametrize("key", ["0", "7", "4294967294", "__proto__"])
def test_a_key_that_javascript_moves_or_drops_is_refused(key: str) -> None:
    with pytest.raises(canonical.NotReproducible):
        canonical.dumps({"a": {"first": 1, key: 2}})
