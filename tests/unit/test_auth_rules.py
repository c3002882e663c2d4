"""Rules for sessions, tokens and passwords."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import argon2
import jwt
import pytest

from service.auth.passwords import Passwords
from service.auth.rules import ENDED, EXPIRED, SUSPENDED, Refresh, SessionState, decide_refresh, refusal
from service.auth.tokens import Tokens
from service.platform.errors import Unauthorized

GOOD = SessionState(ended=False, expired=False, user_active=True, generation=3)
KEY = "a-key-that-is-long-enough-for-each-of-the-algorithms-" * 2


def test_a_session_is_refused_for_the_first_reason_there_is() -> None:
    assert refusal(GOOD) is None
    assert refusal(None) == ENDED
    assert refusal(replace(GOOD, ended=True, expired=True)) == ENDED
    assert refusal(replace(GOOD, expired=True, user_active=False)) == EXPIRED
    assert refusal(replace(GOOD, user_active=False)) == SUSPENDED


@pytest.mark.parametrize(
    ("session", "generation", "decision"),
    [
        (GOOD, 3, Refresh.ROTATE),
        (GOOD, 2, Refresh.END_SESSION),
        (GOOD, 4, Refresh.REFUSE),
        (None, 3, Refresh.REFUSE),
        (replace(GOOD, ended=True), 2, Refresh.REFUSE),
        (replace(GOOD, expired=True), 3, Refresh.REFUSE),
        (replace(GOOD, user_active=False), 3, Refresh.REFUSE),
    ],
)
def test_only_the_newest_refresh_token_of_a_good_session_is_exchanged(
    session: SessionState | None, generation: int, decision: Refresh
) -> None:
    assert decide_refresh(session, generation) is decision


async def test_nobodys_password_is_checked_at_the_price_of_anybodys() -> None:
    passwords = Passwords()
    assert argon2.extract_parameters(passwords.nobody) == argon2.extract_parameters(await passwords.hash("anything"))
    assert not await passwords.verify(None, "anything")


async def test_a_hash_of_other_parameters_verifies_and_is_outdated() -> None:
    passwords = Passwords()
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("the password")
    assert await passwords.verify(old, "the password")
    assert passwords.is_outdated(old)
    assert not passwords.is_outdated(await passwords.hash("the password"))


async def test_what_is_no_hash_is_a_wrong_password() -> None:
    assert not await Passwords().verify("!", "anything")


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(KEY, timedelta(minutes=5), timedelta(days=1))


def test_a_token_gives_back_whose_it_is(tokens: Tokens) -> None:
    user, session = uuid4(), uuid4()
    access = tokens.read_access(tokens.access(user, session))
    assert (access.user_id, access.session_id) == (user, session)
    refresh = tokens.read_refresh(tokens.refresh(user, session, 7))
    assert (refresh.user_id, refresh.session_id, refresh.generation) == (user, session, 7)


def test_one_kind_of_token_is_not_taken_for_the_other(tokens: Tokens) -> None:
    with pytest.raises(Unauthorized, match="the refresh token is not valid"):
        tokens.read_refresh(tokens.access(uuid4(), uuid4()))
    with pytest.raises(Unauthorized, match="the token is not valid"):
        tokens.read_access(tokens.refresh(uuid4(), uuid4(), 1))


def test_a_token_lasts_by_the_databases_clock(tokens: Tokens) -> None:
    """The clocks of the hosts that issue the token and read it do not matter."""
    for now in (datetime(1999, 1, 1, tzinfo=UTC), datetime(2077, 1, 1, tzinfo=UTC)):
        claims = tokens.read_access(tokens.access(uuid4(), uuid4(), now))
        claims.check(now, steady=True)
        claims.check(now + timedelta(minutes=5, seconds=-1), steady=True)
        with pytest.raises(Unauthorized, match="the token has expired"):
            claims.check(now + timedelta(minutes=5), steady=True)


def test_a_token_of_a_clock_that_was_ahead_is_refused_once_the_clock_can_be_trusted(tokens: Tokens) -> None:
    now = datetime(2026, 2, 18, tzinfo=UTC)
    claims = tokens.read_access(tokens.access(uuid4(), uuid4(), now + timedelta(days=10)))
    # While the clock is not steady, it may itself be behind.
    claims.check(now, steady=False)
    with pytest.raises(Unauthorized, match="sign in again"):
        claims.check(now, steady=True)


def _claims(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    claims = {"sub": str(uuid4()), "sid": str(uuid4()), "typ": "access", "iat": now, "exp": now + timedelta(days=1)}
    return {name: value for name, value in (claims | changes).items() if value is not None}


@pytest.mark.parametrize(
    "forged",
    [
        jwt.encode(_claims(), "", algorithm="none"),
        jwt.encode(_claims(), KEY, algorithm="HS384"),
        jwt.encode(_claims(), KEY, algorithm="HS512"),
        jwt.encode(_claims(), "another-key-of-enough-length-for-hs256", algorithm="HS256"),
        *(jwt.encode(_claims(**{name: None}), KEY, algorithm="HS256") for name in ("sub", "sid", "typ", "iat", "exp")),
        jwt.encode(_claims(sub="1"), KEY, algorithm="HS256"),
        jwt.encode(_claims(sid=["x"]), KEY, algorithm="HS256"),
        jwt.encode(_claims(gen="x"), KEY, algorithm="HS256"),
        jwt.encode(_claims(exp="x"), KEY, algorithm="HS256"),
        jwt.encode(_claims(exp=10**30), KEY, algorithm="HS256"),
        jwt.encode(_claims(iat="x"), KEY, algorithm="HS256"),
        jwt.encode(_claims(), KEY, algorithm="HS256")[:-4],
        "a.b.c",
        "é",
        "\udcff",
    ],
)
def test_a_token_that_was_not_issued_here_is_not_valid(tokens: Tokens, forged: str) -> None:
    with pytest.raises(Unauthorized, match="the token is not valid"):
        tokens.read_access(forged)


def test_another_replicas_clock_may_be_ahead(tokens: Tokens) -> None:
    ahead = jwt.encode(_claims(iat=datetime.now(UTC) + timedelta(seconds=30)), KEY, algorithm="HS256")
    tokens.read_access(ahead).check(datetime.now(UTC), steady=True)
