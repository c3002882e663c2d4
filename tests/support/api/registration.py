"""Registration and login over HTTP, of a user called Anna."""

from typing import Any

from aiohttp import ClientResponse

from tests.support.api.caller import Api

PASSWORD = "correct horse battery staple"
ANNA = {"username": "Anna.K", "email": "Anna@Example.org", "password": PASSWORD, "full_name": "Anna Köhler"}
AUTH = "/api/v1/auth"


async def register(api: Api, **changes: Any) -> ClientResponse:
    return await api.post(f"{AUTH}/register", json=ANNA | changes)


async def login(api: Api, identifier: str = "Anna.K", password: str = PASSWORD, **more: Any) -> ClientResponse:
    return await api.post(f"{AUTH}/login", json={"username": identifier, "password": password, **more})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def profile_status(api: Api, token: str) -> int:
    return (await api.get(f"{AUTH}/profile", headers=bearer(token))).status


async def signed_in_anna(api: Api) -> dict[str, Any]:
    """Registers Anna and signs her in. Returns the answer to her login."""
    assert (await register(api)).status == 201
    answer: dict[str, Any] = await (await login(api)).json()
    return answer
