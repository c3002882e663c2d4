"""The template's users, signed in."""

from service.auth.tokens import Tokens
from service.platform.settings import Settings
from tests.integration.conftest import Token
from tests.support.relay.processes import Connection


async def token_of(settings: Settings, connection: Connection, username: str) -> Token:
    """A token of a new session of this user."""
    user = await connection.fetchrow("select id, role from users where username = $1", username)
    assert user is not None
    session_id = await connection.fetchval(
        "insert into sessions (user_id, expires_at) values ($1, now() + interval '1 day') returning id", user["id"]
    )
    token = Token(Tokens.of(settings).access(user["id"], session_id))
    token.user_id, token.session_id, token.username, token.role = user["id"], session_id, username, user["role"]
    return token
