"""Every error that Jossiedb raises on purpose.

```
JossieError
├── StartupError              a process cannot start; one line, exit code 2
└── Problem                   an answer of the API (RFC 9457)
    ├── BadRequest            400  malformed or invalid input, with a FieldError for each bad field
    │   └── Unreadable        400  the connection cannot be used for another request
    │       └── TooSlow       408
    ├── Unauthorized          401
    ├── Forbidden             403
    ├── NotFound              404
    ├── Conflict              409
    ├── Gone                  410  the answer says what still exists
    ├── PreconditionFailed    412  the object's ETag is not the one in If-Match
    ├── PayloadTooLarge       413
    ├── UnsupportedMediaType  415
    ├── Unprocessable         422  a rule of the domain forbids it
    ├── TooManyRequests       429  with Retry-After
    └── Unavailable           503  with Retry-After; the database is away, for example
```
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


class JossieError(Exception):
    """Base of all errors that Jossiedb raises on purpose."""


class StartupError(JossieError):
    """A process cannot start. Its text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: `pointer` is a JSON pointer into the body, or `?name` for a query
    parameter."""

    pointer: str
    detail: str


class Problem(JossieError):
    """An answer of the API. `detail` is a sentence for the caller, and contains no secret.
    `retry_after` is in seconds."""

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = (), retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after
        self.members: Mapping[str, object] = {}

    @classmethod
    def at(cls, pointer: str, detail: str) -> Self:
        """A problem with one bad field. `detail` describes the problem and the field."""
        return cls(detail, errors=[FieldError(pointer, detail)])


class BadRequest(Problem):
    status, slug, title = 400, "invalid-request", "The request is not valid"


class Unreadable(BadRequest):
    """The body could not be read. The connection cannot be used for another request."""


class TooSlow(Unreadable):
    """The body did not arrive in time."""

    status, slug, title = 408, "request-timeout", "The request took too long"


class Unauthorized(Problem):
    status, slug, title = 401, "unauthorized", "Authentication is needed"


class Forbidden(Problem):
    status, slug, title = 403, "forbidden", "Not allowed"


class NotFound(Problem):
    status, slug, title = 404, "not-found", "Not found"


class Conflict(Problem):
    status, slug, title = 409, "conflict", "In conflict with the present state"


class Gone(Problem):
    """`members` are added to the answer beside the standard ones."""

    status, slug, title = 410, "gone", "No longer there"

    def __init__(self, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.members = members


class PreconditionFailed(Problem):
    status, slug, title = 412, "precondition-failed", "Changed since it was read"


class PayloadTooLarge(Problem):
    status, slug, title = 413, "payload-too-large", "The request body is too large"


class UnsupportedMediaType(Problem):
    status, slug, title = 415, "unsupported-media-type", "The request body is not JSON"


class Unprocessable(Problem):
    status, slug, title = 422, "rule-violated", "A rule forbids it"


class TooManyRequests(Problem):
    status, slug, title = 429, "too-many-requests", "Too many requests"


class Unavailable(Problem):
    status, slug, title = 503, "unavailable", "Temporarily unavailable"
