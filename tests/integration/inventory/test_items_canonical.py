"""For any item that the API accepts, JavaScript would write back the events' data as they are stored."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.platform import canonical
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import take_events
from tests.support.database import Connection

# What receivers stumble over comes often, anything else sometimes.
TEXT = st.text(st.one_of(st.sampled_from("\"\\/\x01\x1f\x7f\u2028\u2029½漢😀<>&'\x00"), st.characters()), max_size=40)
LONG = st.builds(lambda text, times: (text * times)[:8000], TEXT, st.integers(1, 8000))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | LONG,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXT | st.sampled_from(["0", "10", "__proto__", ""]), inner, max_size=4)
    ),
    max_leaves=12,
)
ITEM = st.fixed_dictionaries(
    {"name": TEXT},
    optional={
        # An empty one stands for null, and is not answered as it was sent.
        "sku": st.none() | TEXT.filter(bool),
        "serial_number": st.none() | TEXT.filter(bool),
        "description": st.none() | TEXT | LONG,
        "quantity": st.integers(-1, 2**31),
        "min_quantity": st.integers(-1, 2**31),
        "condition": st.sampled_from(["new", "good", "broken"]),
        "purchase_date": st.none() | st.dates().map(str),
        "attributes": st.dictionaries(TEXT | st.sampled_from(["7", "__proto__"]), JSON, max_size=4),
    },
)


@pytest.fixture
def examined() -> Iterator[list[int]]:
    """The sizes of the events that the examples made: a strategy of which the API refuses all proves nothing."""
    sizes: list[int] = []
    yield sizes
    assert len(sizes) > 60


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(first=ITEM, then=ITEM)
async def test_event_data_is_what_javascript_would_write_and_fits_a_request(
    api: Api,
    sign_up: SignUp,
    connection: Connection,
    examined: list[int],
    first: dict[str, Any],
    then: dict[str, Any],
) -> None:
    admin = Caller(api, await sign_up("admin"))

    created = await admin.ask("POST", "/items", _body(first))
    assert created.status in {201, 400, 422}, created.body
    if created.status == 201:
        assert {name: created.body[name] for name in first} == first
        path = f"/items/{created.body['id']}"
        changed = await admin.ask("PUT", path, _body(then))
        assert changed.status in {200, 400, 422}, changed.body
        if changed.status == 200:
            assert {name: changed.body[name] for name in then} == then
        assert (await admin.delete(path)).status == 204

    for _, data in await take_events(connection):
        parsed = orjson.loads(data)
        canonical.check(parsed)
        assert orjson.dumps(parsed).decode() == data
        size = len(data.encode())
        assert size <= canonical.MAX_DATA_BYTES
        examined.append(size)


def _body(value: Any) -> bytes:
    # Not orjson, which refuses to write a lone surrogate; a client may well send one as an escape.
    return json.dumps(value).encode()
