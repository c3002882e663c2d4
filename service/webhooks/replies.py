"""The answers of the webhook routes. Each is an object with its content under a name, such as
`webhook`."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from service.webhooks.shapes import Created, DeliveryView, Detail, Retried, Stats, Summary


class Caution(TypedDict):
    """A value that will not work as it is. `pointer` names the field, as in errors."""

    pointer: str
    detail: str


class CreatedReply(TypedDict):
    """`warnings` is left out if there is none."""

    webhook: Created
    message: str
    warnings: NotRequired[list[Caution]]


class ListReply(TypedDict):
    webhooks: list[Summary]


class GetReply(TypedDict):
    webhook: Detail


class UpdateReply(TypedDict):
    """`warnings` concern the fields that were given. The key is left out if there is none."""

    webhook: Detail
    message: str
    warnings: NotRequired[list[Caution]]


class EventsReply(TypedDict):
    """If more deliveries are pending than are counted, `totalIsMinimum` is true. Otherwise it is
    left out."""

    events: list[DeliveryView]
    total: int
    totalIsMinimum: NotRequired[Literal[True]]
    skip: int
    limit: int


class RetryReply(TypedDict):
    event: Retried


class StatsReply(TypedDict):
    stats: Stats
