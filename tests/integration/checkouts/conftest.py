"""The items, places and people of the checkout tests."""

import pytest

from tests.support.api.caller import Api, SignUp
from tests.support.api.checkout_yard import Yard, open_yard
from tests.support.database import Connection


@pytest.fixture
async def yard(api: Api, sign_up: SignUp, connection: Connection) -> Yard:
    return await open_yard(api, sign_up, connection)
