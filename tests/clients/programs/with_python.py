"""A program that uses the client made by openapi-python-client. Arguments: the base URL and a
token."""

import json
import re
import sys
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from jossiedb_client import AuthenticatedClient
from jossiedb_client.api.items import get_items, post_items, put_items_by_id
from jossiedb_client.api.webhooks import get_webhooks_by_id, post_webhooks, put_webhooks_by_id
from jossiedb_client.models import (
    CreatedReply,
    CreateWebhook,
    EventType,
    Filters,
    GetReply,
    ItemCreate,
    ItemUpdate,
    ItemView,
    UpdateReply,
    UpdateWebhook,
)


def next_cursor(link: str) -> str | None:
    found = re.search(r'[?&]cursor=([^&>]+)[^>]*>; rel="next"', link)
    return unquote(found[1]) if found else None


def put_back(client: AuthenticatedClient, webhook_id: UUID, shown: dict[str, Any]) -> dict[str, Any]:
    changed = put_webhooks_by_id.sync(webhook_id, client=client, body=UpdateWebhook.from_dict(shown))
    assert isinstance(changed, UpdateReply), changed
    return changed.webhook.to_dict()


def main(base_url: str, token: str) -> None:
    client = AuthenticatedClient(base_url=base_url, token=token)
    wanted = CreateWebhook(
        url="https://your-app.com/webhooks/inventory",
        events=[EventType.LOW_STOCK_ALERT],
        filters=Filters(min_stock_threshold=5),
    )
    made = post_webhooks.sync(client=client, body=wanted)
    assert isinstance(made, CreatedReply), made
    webhook_id = UUID(made.webhook.id)
    read = get_webhooks_by_id.sync(webhook_id, client=client)
    assert isinstance(read, GetReply), read

    for number in range(5):
        item = post_items.sync(client=client, body=ItemCreate(name=f"Pump {number}"))
        assert isinstance(item, ItemView), item
        put = put_items_by_id.sync(UUID(item.id), client=client, body=ItemUpdate.from_dict(item.to_dict()))
        assert isinstance(put, ItemView), put
    names: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = get_items.sync_detailed(client=client, cursor=cursor, limit=2)
        assert isinstance(page.parsed, list), page
        names += [item.name for item in page.parsed]
        cursor = next_cursor(page.headers.get("Link", ""))
    print(
        json.dumps(
            {
                "secret": made.webhook.secret,
                "put": put_back(client, webhook_id, read.webhook.to_dict()),
                "again": put_back(client, webhook_id, made.webhook.to_dict()),
                "names": names,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
