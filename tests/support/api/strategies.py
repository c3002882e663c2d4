"""Hypothesis strategies for items and JSON values."""

import json
from typing import Any

from hypothesis import strategies as st

# Characters that cause trouble in receivers come often, others sometimes.
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
        # An empty text stands for null, and is not answered as it was sent.
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


def json_body(value: Any) -> bytes:
    # orjson refuses to write a lone surrogate, but a client may send one as an escape.
    return json.dumps(value).encode()
