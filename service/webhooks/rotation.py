"""The rotation of a webhook's secret, in one transaction."""

from uuid import UUID

from service.api.call import Principal
from service.delivery import sign
from service.delivery.origin import origin_of
from service.events.catalogue import SecretRotated
from service.mutation import Mutation, command
from service.platform.clock import iso, iso_or_none
from service.platform.errors import Conflict
from service.platform.queries import load
from service.platform.vault import Vault
from service.webhooks import order
from service.webhooks.access import ENTITY, open_headers, own
from service.webhooks.shapes import Created, audited, configuration, created, detail, statistics

_SQL = load("webhooks")


@command("rotate-secret")
async def rotate(
    change: Mutation, vault: Vault, user: Principal, webhook_id: UUID, overlap_seconds: int
) -> tuple[Created, dict[str, object]]:
    """Gives the webhook a new secret. Returns the webhook with this secret, and the configuration
    of which its ETag is made. The previous secret signs, too, for `overlap_seconds`.

    Raises NotFound, Forbidden, PreconditionFailed. Raises Conflict if two secrets sign already and
    an overlap is asked for, because the row has room for only one previous secret."""
    before = own(await _SQL.lock.fetchrow(change, id=webhook_id), user)
    change.check_match(configuration(before))
    if before["overlap_until"] is not None and overlap_seconds > 0:
        raise Conflict.at(
            "/overlapSeconds",
            f"the secret was rotated before, and both sign until {iso(before['overlap_until'])}; "
            "with 0 the new one signs alone at once",
        )
    headers = open_headers(vault, before)
    secret = sign.new_secret()
    await _SQL.rotate_secret.execute(
        change,
        id=webhook_id,
        secret_sealed=vault.seal(secret.encode(), webhook_id.bytes),
        overlap_seconds=overlap_seconds,
    )
    row = await _SQL.get.fetchrow(change, id=webhook_id)
    assert row is not None
    change.emit(
        SecretRotated(
            webhookId=webhook_id,
            userId=row["owner_id"],
            url=origin_of(row["url"]),
            rotatedBy=user.user_id,
            overlapUntil=row["overlap_until"],
            timestamp=change.now,
        )
    )
    until = {"overlapUntil": iso_or_none(row["overlap_until"])}
    change.audit(ENTITY, webhook_id, audited(before, headers), {**audited(row, headers), **until})
    counted = await _SQL.statistics.fetchrow(change, ids=[webhook_id])
    health = await _SQL.health.fetchrow(change, ids=[webhook_id])
    blocked = await order.count_blocked(change, webhook_id)
    return created(detail(row, headers, statistics(counted), health, blocked), secret), configuration(row)
