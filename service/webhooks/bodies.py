"""What the webhook routes take."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from service.api.fields import MAX_INTEGER, Body, Id, Query, Text
from service.api.paging import PositionPage
from service.events import CATALOGUE
from service.platform.backoff import MAX_DELAY_MS
from service.webhooks import rules

# The outbox takes no longer one.
MAX_TYPE_CHARS = 64
# Of each filter: matching looks through them for each event.
MAX_FILTER_IDS = 1000


def _refuse_secret(_: Any) -> None:
    raise ValueError("cannot be set; it is made when the webhook is created")


Url = Annotated[
    Text,
    Field(max_length=rules.MAX_URL_CHARS, json_schema_extra={"pattern": "^https?://"}),
    AfterValidator(rules.check_url),
]
EventType = Annotated[
    Text,
    Field(max_length=MAX_TYPE_CHARS, json_schema_extra={"enum": [*CATALOGUE]}),
    AfterValidator(rules.check_event_type),
]
EventTypes = Annotated[
    list[EventType],
    Field(min_length=1, max_length=len(CATALOGUE), json_schema_extra={"uniqueItems": True}),
    AfterValidator(rules.check_distinct),
]
HeaderName = Annotated[str, Field(strict=True), AfterValidator(rules.check_header_name)]
HeaderValue = Annotated[str, Field(strict=True), AfterValidator(rules.check_header_value)]
Headers = Annotated[
    dict[HeaderName, HeaderValue], Field(max_length=rules.MAX_HEADERS), AfterValidator(rules.check_headers)
]
Places = Annotated[list[Id], Field(max_length=MAX_FILTER_IDS)]
Threshold = Annotated[int, Field(strict=True, gt=0, le=MAX_INTEGER)]
Timeout = Annotated[int, Field(strict=True, ge=5000, le=60_000)]
MaxRetries = Annotated[int, Field(strict=True, ge=0, le=rules.MAX_RETRIES)]
RetryDelay = Annotated[int, Field(strict=True, ge=rules.MIN_DELAY_MS, le=60_000)]
Delay = Annotated[int, Field(strict=True, ge=rules.MIN_DELAY_MS, le=MAX_DELAY_MS)]
# Told apart beforehand, so that a bad delay is one error and not one of each form. Marks in brackets stay out of JSON pointers.
Schedule = Annotated[
    Annotated[Literal["standard"], Tag("[name]")]
    | Annotated[list[Delay], Field(min_length=1, max_length=rules.MAX_RETRIES), Tag("[delays]")],
    Discriminator(lambda value: "[delays]" if isinstance(value, list) else "[name]"),
]
Rate = Annotated[int, Field(strict=True, ge=1, le=rules.MAX_RATE)]
Ordering = Literal["item"]
OnFailure = Literal["block", "skip"]
Description = Annotated[Text, Field(max_length=rules.MAX_DESCRIPTION_CHARS)]
Bool = Annotated[bool, Field(strict=True)]


def _refuse_null(value: Any) -> Any:
    # None in these models is a field that was left out; validators do not run on that.
    if value is None:
        raise ValueError("must not be null; leave it out")
    return value


class Filters(Body):
    """Null or an empty list: no such filter."""

    locations: Places | None = None
    categories: Places | None = None
    minStockThreshold: Threshold | None = None


class RetryPolicy(Body):
    """`retryDelay` and the delays of a schedule in ms. A schedule of null is none; with one, `maxRetries` is its length."""

    maxRetries: MaxRetries | None = None
    retryDelay: RetryDelay | None = None
    schedule: Schedule | None = None

    _not_null = field_validator("maxRetries", "retryDelay", mode="before")(_refuse_null)


class RateLimit(Body):
    """Requests a second, and how many may go at once after a lull; as many as a second if it is left out."""

    perSecond: Rate
    burst: Rate | None = None

    _not_null = field_validator("burst", mode="before")(_refuse_null)


class CreateWebhook(Body):
    url: Url
    events: EventTypes
    description: Description | None = None
    filters: Filters | None = None
    headers: Headers | None = None
    retryPolicy: RetryPolicy | None = None
    timeout: Timeout | None = None
    rateLimit: RateLimit | None = None
    ordering: Ordering | None = None
    onFailure: OnFailure | None = None

    _not_null = field_validator("retryPolicy", "timeout", mode="before")(_refuse_null)


class UpdateWebhook(Body):
    """Any subset. Filters, headers and a rate limit replace those before as a whole, and null is none, as for a description and
    an order; a retry policy's own fields may be left out."""

    url: Url | None = None
    events: EventTypes | None = None
    description: Description | None = None
    filters: Filters | None = None
    headers: Headers | None = None
    retryPolicy: RetryPolicy | None = None
    timeout: Timeout | None = None
    rateLimit: RateLimit | None = None
    ordering: Ordering | None = None
    onFailure: OnFailure | None = None
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


class ExplainQuery(Query):
    webhook: Id


class EventsQuery(PositionPage):
    status: Literal["pending", "success", "failed"] | None = None
