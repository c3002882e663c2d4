"""Anna, who is registered and signed in."""

from typing import Any

import pytest

from tests.support.api.caller import Api
from tests.support.api.registration import signed_in_anna


@pytest.fixture
async def anna(api: Api) -> dict[str, Any]:
    """The answer to Anna's login."""
    return await signed_in_anna(api)
