"""Operational events: what a relay tells of a webhook, to whoever subscribes to it. They concern the webhook's owner, `userId`.

A relay writes them and may not import these models: relay/record/notices.py builds what they describe, and a test compares the two.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from service.events.data import EventData
from service.platform.canonical import Json


class _Operational(EventData):
    """`url` has scheme, host and port only. Admins are told of the webhooks of others, and for chat services the path is the
    secret."""

    webhookId: UUID
    userId: UUID
    url: str


class WebhookDisabled(_Operational):
    type: ClassVar[str] = "webhook-disabled"
    summary: ClassVar[str] = (
        "A webhook was made inactive: its receiver answered 410 (`gone`), or every attempt failed for too long (`failing`)."
    )
    example: ClassVar[Mapping[str, Json]] = {
        "reason": "failing",
        "detail": "every attempt has failed since 2026-02-13T09:29:58.004Z",
    }

    reason: Literal["gone", "failing"]
    detail: str
    failingSince: datetime
    timestamp: datetime


class WebhookRecovered(_Operational):
    type: ClassVar[str] = "webhook-recovered"
    summary: ClassVar[str] = "A webhook's receiver took a delivery again, after its breaker had opened."

    failures: int
    failingSince: datetime
    openedAt: datetime
    timestamp: datetime


class DeliveryFailed(_Operational):
    type: ClassVar[str] = "delivery-failed"
    summary: ClassVar[str] = (
        "Deliveries to a webhook failed for good: `count` since the last event of this type, of which a webhook has at most one a "
        "minute. `skipped` of them were stepped over for the next event of their item."
    )

    count: int
    skipped: int
    lastEventId: UUID | None
    lastEventType: str | None
    lastError: str | None
    timestamp: datetime
