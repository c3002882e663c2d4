"""The bodies and queries that the webhook routes take."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from service.api.fields import DECIMAL, MAX_INTEGER, OMITTED, Body, Bool, Id, Query, Text
from service.api.paging import OptionalPage, PositionPage
from service.delivery.backoff import MAX_DELAY_MS
from service.events.catalogue import CATALOGUE
from service.webhooks import rules
from service.webhooks.shapes import EventType

# The most ids in one filter. Matching compares them with each event.
MAX_FILTER_IDS = 1000


Url = Annotated[
    Text,
    Field(max_length=rules.MAX_URL_CHARS, json_schema_extra={"pattern": "^https?://"}),
    AfterValidator(rules.check_url),
]
KnownType = Annotated[EventType, AfterValidator(rules.check_event_type)]
EventTypes = Annotated[
    list[KnownType],
    Field(min_length=1, max_length=len(CATALOGUE), json_schema_extra={"uniqueItems": True}),
    AfterValidator(rules.check_distinct),
]
HeaderName = Annotated[str, Field(strict=True), AfterValidator(rules.check_header_name)]
HeaderValue = Annotated[str, Field(strict=True), AfterValidator(rules.check_header_value)]
Headers = Annotated[
    dict[HeaderName, HeaderValue], Field(max_length=rules.MAX_HEADERS), AfterValidator(rules.check_headers)
]
Places = Annotated[list[Id], Field(max_length=MAX_FILTER_IDS)]
Threshold = Annotated[int, Field(strict=True, gt=0, le=MAX_INTEGER), DECIMAL]
Timeout = Annotated[int, Field(strict=True, ge=5000, le=60_000), DECIMAL]
MaxRetries = Annotated[int, Field(strict=True, ge=0, le=rules.MAX_RETRIES), DECIMAL]
RetryDelay = Annotated[int, Field(strict=True, ge=rules.MIN_DELAY_MS, le=60_000), DECIMAL]
Delay = Annotated[int, Field(strict=True, ge=rules.MIN_DELAY_MS, le=MAX_DELAY_MS), DECIMAL]
# The discriminator chooses the form first. So a bad delay is one error, and not one for each form.
# Tags in brackets are left out of JSON pointers.
Schedule = Annotated[
    Annotated[Literal["standard"], Tag("[name]")]
    | Annotated[list[Delay], Field(min_length=1, max_length=rules.MAX_RETRIES), Tag("[delays]")],
    Discriminator(lambda value: "[delays]" if isinstance(value, list) else "[name]"),
]
Rate = Annotated[int, Field(strict=True, ge=1, le=rules.MAX_RATE), DECIMAL]
Ordering = Literal["item"]
OnFailure = Literal["block", "skip"]
Secret = Annotated[
    Text,
    Field(json_schema_extra={"minLength": rules.MIN_SECRET_CHARS, "maxLength": rules.MAX_SECRET_CHARS}),
    AfterValidator(rules.check_secret),
]
OverlapSeconds = Annotated[int, Field(strict=True, ge=0, le=rules.MAX_OVERLAP_SECONDS), DECIMAL]
Description = Annotated[Text, Field(max_length=rules.MAX_DESCRIPTION_CHARS)]


def _refuse_null(value: Any) -> Any:
    # In these models None is the default, which means that the field was left out. Validators do
    # not run on a default.
    if value is None:
        raise ValueError("must not be null; leave it out")
    return value


class Filters(Body):
    """null or an empty list means that there is no such filter. With `leaving`, events of items
    that leave `locations` for another location pass, too."""

    locations: Places | None = None
    categories: Places | None = None
    minStockThreshold: Threshold | None = None
    leaving: Bool | None = None


class RetryPolicy(Body):
    """`retryDelay` and the delays of a schedule are in ms. null removes the schedule. With a
    schedule, `maxRetries` is its length."""

    maxRetries: MaxRetries | None = OMITTED
    retryDelay: RetryDelay | None = OMITTED
    schedule: Schedule | None = None

    _not_null = field_validator("maxRetries", "retryDelay", mode="before")(_refuse_null)


class RateLimit(Body):
    """`perSecond` is the most requests a second. `burst` is how many may go at once after a lull.
    Without it, it is `perSecond`."""

    perSecond: Rate
    burst: Rate | None = OMITTED

    _not_null = field_validator("burst", mode="before")(_refuse_null)


class _Given(Body):
    """The fields that the owner of a webhook may give when it is created and when it is changed."""

    url: Url | None = OMITTED
    events: EventTypes | None = OMITTED
    description: Description | None = None
    filters: Filters | None = None
    headers: Headers | None = None
    retryPolicy: RetryPolicy | None = OMITTED
    timeout: Timeout | None = OMITTED
    rateLimit: RateLimit | None = None
    ordering: Ordering | None = None
    onFailure: OnFailure | None = None
    active: Bool | None = OMITTED

    _given_not_null = field_validator("retryPolicy", "timeout", "active", mode="before")(_refuse_null)


class CreateWebhook(_Given):
    """Without `secret`, the service makes one."""

    url: Url
    events: EventTypes
    secret: Secret | None = OMITTED

    _not_null = field_validator("secret", mode="before")(_refuse_null)


class UpdateWebhook(_Given):
    """Any subset of the fields. `filters`, `headers` and `rateLimit` replace the old value as a
    whole, and null removes it. null also removes a `description` or an `ordering`. In a
    `retryPolicy`, fields may be left out. A `secret` must be the present one."""

    pending: Literal["discard"] | None = OMITTED
    secret: Annotated[Text, Field(max_length=rules.MAX_SECRET_CHARS)] | None = OMITTED

    _not_null = field_validator("url", "events", "pending", "secret", mode="before")(_refuse_null)

    @model_validator(mode="after")
    def _pending_goes_with_active(self) -> "UpdateWebhook":
        if self.pending and not self.active:
            raise ValueError('"pending": "discard" goes with "active": true only')
        return self


class RotateSecret(Body):
    """For `overlapSeconds`, both secrets sign."""

    overlapSeconds: OverlapSeconds = rules.OVERLAP_SECONDS


class ListQuery(OptionalPage):
    active: Literal["true", "false"] | None = None


class ExplainQuery(Query):
    webhook: Id


class EventsQuery(PositionPage):
    status: Literal["pending", "success", "failed"] | None = None
