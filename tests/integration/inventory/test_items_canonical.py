"""For any item that the API accepts, JavaScript would write back the events' data exactly as they
are stored."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from service.platform import canonical
from tests.support.api.caller import Api, Caller, SignUp
from tests.support.api.outbox import take_events
from tests.support.api.strategies import ITEM, json_body
from tests.support.database import Connection


@pytest.fixture
def examined() -> Iterator[list[int]]:
    """The sizes of the events that the examples made. If the API refused every example, nothing
    would be proved."""
    sizes: list[int] = []
    yield sizes
    assert len(sizes) > 60


@settings(
    max_examples=120,
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

    created = await admin.ask("POST", "/items", json_body(first))
    assert created.status in {201, 400, 422}, created.body
    if created.status == 201:
        assert {name: created.body[name] for name in first} == first
        path = f"/items/{created.body['id']}"
        changed = await admin.ask("PUT", path, json_body(then))
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
