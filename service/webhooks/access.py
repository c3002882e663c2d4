"""The check that a user may manage a webhook, and the headers of a webhook."""

import asyncpg

from service.api.call import Principal
from service.platform.errors import Forbidden, NotFound
from service.platform.vault import Vault

# The name of webhooks in the audit trail.
ENTITY = "webhook"
NO_DELIVERY = "this webhook has no event with this id, or it has been dropped from the history"


def own(row: asyncpg.Record | None, user: Principal) -> asyncpg.Record:
    """The row, if the user may manage this webhook. Raises NotFound, Forbidden."""
    if row is None:
        raise NotFound("there is no webhook with this id")
    if row["owner_id"] != user.user_id and not user.is_admin:
        raise Forbidden("this webhook belongs to another user")
    return row


def open_headers(vault: Vault, row: asyncpg.Record) -> dict[str, str]:
    """The custom headers of a webhook with their values. Raises SealBroken."""
    if row["headers_sealed"] is None:
        return {}
    return vault.open_headers(row["headers_sealed"], row["id"].bytes)
