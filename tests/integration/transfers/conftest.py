"""The item and the locations of the transfer tests."""

import pytest

from tests.support.api.caller import Api, SignUp
from tests.support.api.transfer_yard import Yard, open_yard


@pytest.fixture
async def yard(api: Api, sign_up: SignUp) -> Yard:
    return await open_yard(api, sign_up)
