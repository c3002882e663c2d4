"""What the routes of webhooks answer: each an object with what it shows under a name of its own."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from service.webhooks.shapes import Created, DeliveryView, Detail, Retried, Stats, Summary


class Caution(TypedDict):
    """What will not work as it is. `pointer` names the field, as in errors."""

    pointer: str
    detail: str


class CreatedReply(TypedDict):
    """`warnings` is left out where there is none."""

    webhook: Created
    message: str
    warnings: NotRequired[list[Caution]]


class ListReply(TypedDict):
    webhooks: list[Summary]


class GetReply(TypedDict):
    webhook: Detail


class UpdateReply(TypedDict):
    """`warnings` are about the fields that were given, and left out where there is none."""

    webhook: Detail
    message: str
    warnings: NotRequired[list[Caution]]


class EventsReply(TypedDict):
    """`totalIsMinimum` is true, and there, where more wait than are counted."""

    events: list[DeliveryView]
    total: int
    totalIsMinimum: NotRequired[Literal[True]]
    skip: int
    limit: int


class RetryReply(TypedDict):
    event: Retried


class StatsReply(TypedDict):
    stats: Stats
