"""What the webhook routes take."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from service.api.fields import MAX_INTEGER, Body, Id, Query, Text
from service.api.paging import PositionPage
from service.events import CATALOGUE
from service.webhooks import rules


def _refuse_secret(_: Any) -> None:
    raise ValueError("cannot be set; it is made when the webhook is created")


Url = Annotated[
    Text,
    Field(max_length=rules.MAX_URL_CHARS, json_schema_extra={"pattern": "^https?://"}),
    AfterValidator(rules.check_url),
]
EventType = Annotated[Text, Field(json_schema_extra={"enum": [*CATALOGUE]}), AfterValidator(rules.check_event_type)]
EventTypes = Annotated[
    list[EventType], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(rules.check_distinct)
]
HeaderName = Annotated[str, Field(strict=True), AfterValidator(rules.check_header_name)]
HeaderValue = Annotated[str, Field(strict=True), AfterValidator(rules.check_header_value)]
Headers = Annotated[dict[HeaderName, HeaderValue], AfterValidator(rules.check_headers)]
Threshold = Annotated[int, Field(strict=True, gt=0, le=MAX_INTEGER)]
Timeout = Annotated[int, Field(strict=True, ge=5000, le=60_000)]
MaxRetries = Annotated[int, Field(strict=True, ge=0, le=20)]
RetryDelay = Annotated[int, Field(strict=True, ge=100, le=60_000)]
Bool = Annotated[bool, Field(strict=True)]


def _refuse_null(value: Any) -> Any:
    # None in these models is a field that was left out; validators do not run on that.
    if value is None:
        raise ValueError("must not be null; leave it out")
    return value


class Filters(Body):
    """Null or an empty list: no such filter."""

    locations: list[Id] | None = None
    categories: list[Id] | None = None
    minStockThreshold: Threshold | None = None


class RetryPolicy(Body):
    """`retryDelay` and the timeout of a webhook in ms."""

    maxRetries: MaxRetries | None = None
    retryDelay: RetryDelay | None = None

    _not_null = field_validator("maxRetries", "retryDelay", mode="before")(_refuse_null)


class CreateWebhook(Body):
    url: Url
    events: EventTypes
    filters: Filters | None = None
    headers: Headers | None = None
    retryPolicy: RetryPolicy | None = None
    timeout: Timeout | None = None

    _not_null = field_validator("retryPolicy", "timeout", mode="before")(_refuse_null)


class UpdateWebhook(Body):
    """Any subset. Filters and headers replace those before as a whole, and null is none; a retry policy's own fields may be
    left out."""

    url: Url | None = None
    events: EventTypes | None = None
    filters: Filters | None = None
    headers: Headers | None = None
    retryPolicy: RetryPolicy | None = None
    timeout: Timeout | None = None
    active: Bool | None = None
    pending: Literal["discard"] | None = None
    secret: Annotated[None, BeforeValidator(_refuse_secret)] = None

    _not_null = field_validator("url", "events", "retryPolicy", "timeout", "active", "pending", mode="before")(
        _refuse_null
    )

    @model_validator(mode="after")
    def _pending_goes_with_active(self) -> "UpdateWebhook":
        if self.pending and not self.active:
            raise ValueError('"pending": "discard" goes with "active": true only')
        return self


class ListQuery(Query):
    active: Literal["true", "false"] | None = None


class EventsQuery(PositionPage):
    status: Literal["pending", "success", "failed"] | None = None
