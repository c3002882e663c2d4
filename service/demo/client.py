"""A client of the API, such as anybody could write."""

from typing import Any

import aiohttp

from service.platform.errors import JossieError

Json = dict[str, Any]


class Refused(JossieError):
    """The API refused a request of the demo."""

    def __init__(self, method: str, path: str, status: int, answer: str) -> None:
        super().__init__(f"{method} {path} was answered with {status}: {answer}")
        self.status = status


class Api:
    """The API at `address`. `token` is a signed-in user's, or None."""

    def __init__(self, http: aiohttp.ClientSession, address: str, token: str | None = None) -> None:
        self._http = http
        self.address = address
        self._token = token

    async def signed_in(self, username: str, password: str) -> "Api":
        """A client for this user. Raises Refused."""
        answer = await self.post("/auth/login", {"username": username, "password": password, "deviceInfo": "demo"})
        return Api(self._http, self.address, answer["token"])

    async def get(self, path: str) -> Any:
        return await self._call("GET", path, None)

    async def post(self, path: str, body: Json | None = None) -> Any:
        return await self._call("POST", path, body)

    async def put(self, path: str, body: Json) -> Any:
        return await self._call("PUT", path, body)

    async def delete(self, path: str) -> None:
        await self._call("DELETE", path, None)

    async def _call(self, method: str, path: str, body: Json | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        async with self._http.request(method, f"{self.address}/api/v1{path}", json=body, headers=headers) as response:
            if not response.ok:
                raise Refused(method, path, response.status, (await response.text())[:300])
            return await response.json() if response.status != 204 else None
