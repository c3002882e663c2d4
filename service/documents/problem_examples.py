"""An example of each kind of problem, as the API answers with it."""

from service.platform.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    Gone,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    Problem,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedMediaType,
)

_OF_FIELDS = [
    FieldError("/name", "must not be blank"),
    FieldError("/quantity", "input should be greater than or equal to 0"),
]
PROBLEMS: tuple[Problem, ...] = (
    BadRequest("/name: must not be blank (and 1 more)", errors=_OF_FIELDS),
    Unauthorized("the session has ended"),
    Forbidden("this needs the role admin"),
    NotFound("no object has this id"),
    Conflict("a request with this Idempotency-Key is still running", retry_after=1),
    Gone("the log begins at position 1042; what came after 41 has been dropped in part", earliest="1042"),
    PreconditionFailed("it has been changed since it was read: its ETag is none of those in If-Match"),
    PayloadTooLarge("the request body is too large"),
    UnsupportedMediaType("the body must be application/json, not text/plain"),
    Unprocessable("this Idempotency-Key was used for another request"),
    TooManyRequests("too many failed logins from here; wait before the next", retry_after=60),
    Unavailable("the database is away; try again", retry_after=5),
)
