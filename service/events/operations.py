"""Notices: the events that a relay writes about webhooks. They concern the webhook's owner,
`userId`.

A relay may not import these models. So relay/record/notices.py builds the same data, and a test
compares the two.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from service.events.data import EventData
from service.platform.canonical import Json


class _Operational(EventData):
    """`url` has scheme, host and port only. Admins get these events about the webhooks of other
    users, too, and the URLs of chat services have their secret in the path."""

    webhookId: UUID
    userId: UUID
    url: str


class WebhookDisabled(_Operational):
    type: ClassVar[str] = "webhook-disabled"
    summary: ClassVar[str] = (
        "A relay made a webhook inactive: its receiver answered 410 (`gone`), or every attempt failed for too long (`failing`)."
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
    summary: ClassVar[str] = "A webhook's receiver accepted a delivery again, after its breaker had opened."

    failures: int
    failingSince: datetime
    openedAt: datetime
    timestamp: datetime


class DeliveryFailed(_Operational):
    type: ClassVar[str] = "delivery-failed"
    summary: ClassVar[str] = (
        "Deliveries to a webhook failed for good: `count` of them since the previous event of this type. A webhook causes at most "
        "one such event a minute. `skipped` of the deliveries were skipped, so that the later events of their items follow."
    )

    count: int
    skipped: int
    lastEventId: UUID | None
    lastEventType: str | None
    lastError: str | None
    timestamp: datetime
