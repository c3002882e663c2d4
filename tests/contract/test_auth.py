"""Contract, section 4: `/auth`, what every session can do."""

import pytest

from tests.support.contract.client import PASSWORD, Client, Newcomer, unique


async def test_registration_makes_a_worker_whatever_role_is_asked_for(nobody: Client) -> None:
    """`POST register`; Registration makes a `worker`; only an admin gives another role."""
    name = unique("registering")
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "role": "admin"}
    user = await nobody.post("/auth/register", body, status=201)
    assert (user["username"], user["role"]) == (name, "worker")
    assert PASSWORD not in str(user)
    twin = body | {"email": f"other-{name}@example.org"}
    (await nobody.ask("POST", "/auth/register", twin)).problem(409, "/username")
    (await nobody.ask("POST", "/auth/register", body | {"username": unique("twin")})).problem(409, "/email")


async def test_bad_fields_of_a_registration_are_all_named(nobody: Client) -> None:
    """400 with one entry a bad field"""
    body = {"username": "a b", "email": "nonsense", "password": "short"}
    (await nobody.ask("POST", "/auth/register", body)).problem(400, "/username", "/email", "/password")


async def test_a_login_gives_user_tokens_session_and_message(newcomer: Newcomer, nobody: Client) -> None:
    """`POST login` → `{user, token, refreshToken, sessionId, message}`"""
    person = await newcomer()
    assert person.user is not None
    by_name = await nobody.post("/auth/login", {"username": person.user.username, "password": PASSWORD}, status=200)
    assert set(by_name) == {"user", "token", "refreshToken", "sessionId", "message"}
    assert by_name["user"]["id"] == person.id
    by_address = {"email": f"{person.user.username}@example.org", "password": PASSWORD}
    assert (await nobody.post("/auth/login", by_address))["user"]["id"] == person.id


async def test_a_wrong_login_is_401_and_does_not_say_what_was_wrong(newcomer: Newcomer, nobody: Client) -> None:
    """401"""
    person = await newcomer()
    assert person.user is not None
    known = await nobody.ask("POST", "/auth/login", {"username": person.user.username, "password": "wrong-password"})
    unknown = await nobody.ask("POST", "/auth/login", {"username": unique("no-one"), "password": "wrong-password"})
    assert known.problem(401)["detail"] == unknown.problem(401)["detail"]


async def test_profile_and_verify_session_say_who_is_signed_in(newcomer: Newcomer) -> None:
    """`GET profile`, `GET verify-session`"""
    person = await newcomer()
    assert person.user is not None
    profile = await person.get("/auth/profile")
    assert (profile["id"], profile["username"], profile["role"]) == (person.id, person.user.username, "worker")
    session = await person.get("/auth/verify-session")
    assert session["sessionId"] == person.user.session_id
    assert session["user"]["id"] == person.id


async def test_a_logged_out_token_stops_working_at_once(newcomer: Newcomer) -> None:
    """`POST logout`. A logged-out token stops working at once."""
    person = await newcomer()
    assert person.user is not None
    other = await person.sign_in(person.user.username)
    await person.post("/auth/logout")
    (await person.ask("GET", "/auth/profile")).problem(401)
    (await person.ask("POST", "/auth/logout")).problem(401)
    assert (await other.ask("GET", "/auth/profile")).status == 200


async def test_logout_all_ends_every_session_of_the_user(newcomer: Newcomer, worker: Client) -> None:
    """`POST logout-all`"""
    person = await newcomer()
    assert person.user is not None
    other = await person.sign_in(person.user.username)
    await person.post("/auth/logout-all")
    for client in (person, other):
        (await client.ask("GET", "/auth/profile")).problem(401)
    assert (await worker.ask("GET", "/auth/profile")).status == 200


async def test_a_refresh_rotates_and_a_token_used_twice_ends_its_session(newcomer: Newcomer, nobody: Client) -> None:
    """`POST refresh` (rotates; a refresh token used twice ends its session)"""
    person = await newcomer()
    assert person.user is not None
    first = await nobody.post("/auth/login", {"username": person.user.username, "password": PASSWORD})
    second = await nobody.post("/auth/refresh", {"refreshToken": first["refreshToken"]}, status=200)
    assert set(second) == set(first)
    assert second["refreshToken"] != first["refreshToken"]
    assert second["sessionId"] == first["sessionId"]
    assert (await nobody.ask("GET", "/auth/profile", Authorization=f"Bearer {second['token']}")).status == 200
    (await nobody.ask("POST", "/auth/refresh", {"refreshToken": first["refreshToken"]})).problem(401)
    for token in (first["token"], second["token"]):
        (await nobody.ask("GET", "/auth/profile", Authorization=f"Bearer {token}")).problem(401)
    (await nobody.ask("POST", "/auth/refresh", {"refreshToken": second["refreshToken"]})).problem(401)
    assert (await person.ask("GET", "/auth/profile")).status == 200


@pytest.mark.parametrize("token", ["nonsense", ""])
async def test_what_is_no_refresh_token_is_refused(nobody: Client, token: str) -> None:
    """401, or 400 malformed"""
    (await nobody.ask("POST", "/auth/refresh", {"refreshToken": token})).problem(401 if token else 400)


async def test_an_access_token_does_not_refresh_nor_a_refresh_token_open(newcomer: Newcomer, nobody: Client) -> None:
    """`POST refresh`"""
    person = await newcomer()
    assert person.user is not None
    signed_in = await nobody.post("/auth/login", {"username": person.user.username, "password": PASSWORD})
    (await nobody.ask("POST", "/auth/refresh", {"refreshToken": signed_in["token"]})).problem(401)
    as_access = f"Bearer {signed_in['refreshToken']}"
    (await nobody.ask("GET", "/auth/profile", Authorization=as_access)).problem(401)


async def test_a_post_without_a_body_needs_no_content_type(newcomer: Newcomer) -> None:
    """A POST without a body needs no Content-Type."""
    person = await newcomer()
    answer = await person.ask("POST", "/auth/logout")
    assert answer.status == 200
