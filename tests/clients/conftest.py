"""The API, and people to ask it, as the integration tests have them."""

from tests.integration.conftest import api, sign_up

__all__ = ["api", "sign_up"]
