"""The template's users, signed in."""

from service.auth.tokens import Tokens
from service.platform.settings import Settings
from tests.support.api.caller import Token, open_session
from tests.support.database import Connection


async def token_of(settings: Settings, connection: Connection, username: str) -> Token:
    """A token of a new session of this user."""
    user_id = await connection.fetchval("select id from users where username = $1", username)
    return await open_session(connection, Tokens.of(settings), user_id)
