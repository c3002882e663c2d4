"""Pure checks of the values that the owner of a webhook gives. Each raises ValueError with a
message for the owner."""

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit, urlunsplit

from yarl import URL

from service.delivery.backoff import schedule_of
from service.delivery.sign import PREFIX
from service.events.catalogue import CATALOGUE

MAX_URL_CHARS = 2048
MAX_HEADERS = 50
MAX_HEADER_NAME_CHARS = 128
MAX_HEADER_VALUE_CHARS = 4096
# Many receivers take 8 or 16 KiB of headers in all, and the relay adds its own.
MAX_HEADERS_CHARS = 8192
MAX_DESCRIPTION_CHARS = 500
MAX_RETRIES = 20
MIN_DELAY_MS = 100
# The most requests a second, and the largest burst.
MAX_RATE = 10_000
# Bytes of a key that is given as base64, and characters of a secret that is its own key.
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
MIN_SECRET_CHARS, MAX_SECRET_CHARS = 16, 128
# How long both secrets sign after a rotation.
OVERLAP_SECONDS, MAX_OVERLAP_SECONDS = 86_400, 604_800
# Shown instead of the value of a header.
MASK = "[set]"

# The characters of RFC 3986. A URL of only these is kept as it was given. Any other is encoded as a
# browser would do it.
_PLAIN_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\]|\s")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
# urlsplit takes a host out of brackets whatever follows them. It takes an address of a future form
# (IPvFuture in RFC 3986) for a name.
_BRACKETED = re.compile(r"\[[^\[\]]*:[^\[\]]*\](?::[0-9]*)?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PRINTABLE = re.compile(r"[\x20-\x7e\xa1-\xff]*")
_SECRET = re.compile(rf"[\x20-\x7e]{{{MIN_SECRET_CHARS},{MAX_SECRET_CHARS}}}")
_SET_BY_THE_RELAY = frozenset(
    {
        "accept-encoding",
        "content-type",
        "traceparent",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-event-type",
        "x-webhook-id",
        "x-webhook-signature",
    }
)
# These headers frame the message or concern one connection. Any other value than the transport's
# would break the exchange.
_OF_THE_CONNECTION = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def check_event_type(name: str) -> str:
    if name not in CATALOGUE:
        # The message does not list all types: a list of wrong names would get such a list for each.
        raise ValueError("is not an event type; GET /api/v1/asyncapi.json has them all")
    return name


def check_distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names an event type twice")
    return names


def check_url(text: str) -> str:
    """The URL as it is stored: ASCII, without a fragment."""
    if _UNSAFE.search(text):
        raise ValueError("holds white space, a control character or a backslash; encode it")
    try:
        parts = _split(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not a valid URL: {error}") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("holds a login; put it into a header such as Authorization instead")
    if not parts.hostname:
        raise ValueError("has no host")
    if "[" in parts.netloc and not _BRACKETED.fullmatch(parts.netloc):
        raise ValueError("has a host that is not a valid address")
    if port == 0:
        raise ValueError("is not a valid URL: port 0 cannot be connected to")
    _check_host(parts.hostname)
    url = urlunsplit(parts._replace(fragment=""))
    if len(url) > MAX_URL_CHARS:
        raise ValueError(f"may have at most {MAX_URL_CHARS} characters")
    return url


def _split(text: str) -> SplitResult:
    if _PLAIN_URL.fullmatch(text):
        return urlsplit(text)
    parts = urlsplit(text)
    if "@" in parts.netloc:
        return parts
    return urlsplit(str(URL(text)))


def _check_host(host: str) -> None:
    if ":" in host:
        if "%" in host:
            raise ValueError("has an address with a zone, which means something on one machine only")
        try:
            IPv6Address(host)
        except ValueError:
            raise ValueError("has a host that is not a valid address") from None
    elif not _HOST.fullmatch(host):
        raise ValueError("has a host that is not a valid name")


def check_secret(secret: str) -> str:
    """The secret itself. No message shows it."""
    if secret.startswith(PREFIX):
        text = secret.removeprefix(PREFIX).encode("ascii", "replace")
        try:
            key = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            key = b""
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES or binascii.b2a_base64(key, newline=False) != text:
            raise ValueError(f"must have the base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes after {PREFIX}")
    elif not _SECRET.fullmatch(secret):
        raise ValueError(
            f"must be {PREFIX} and the base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, or "
            f"{MIN_SECRET_CHARS} to {MAX_SECRET_CHARS} printable ASCII characters"
        )
    return secret


def check_header_name(name: str) -> str:
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a valid header name")
    if len(name) > MAX_HEADER_NAME_CHARS:
        raise ValueError(f"may have at most {MAX_HEADER_NAME_CHARS} characters")
    if lower in _SET_BY_THE_RELAY:
        raise ValueError("is the sender's to set or to leave out, and cannot be given")
    if lower in _OF_THE_CONNECTION or lower.startswith("proxy-"):
        raise ValueError("concerns the connection and cannot be given")
    return name


def check_header_value(value: str) -> str:
    """The value itself. No message shows it, because it may be a password."""
    if len(value) > MAX_HEADER_VALUE_CHARS:
        raise ValueError(f"may have at most {MAX_HEADER_VALUE_CHARS} characters")
    if not _PRINTABLE.fullmatch(value):
        raise ValueError("may hold printable Latin-1 characters only: no line break, no control character")
    if value != value.strip(" "):
        raise ValueError("may not begin or end with a space")
    return value


def check_headers(headers: dict[str, str]) -> dict[str, str]:
    if len(headers) > MAX_HEADERS:
        raise ValueError(f"may have at most {MAX_HEADERS} entries, and these are {len(headers)}")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("names a header twice; case does not matter in them")
    size = sum(len(name) + len(value) for name, value in headers.items())
    if size > MAX_HEADERS_CHARS:
        raise ValueError(f"may have at most {MAX_HEADERS_CHARS} characters together, and these have {size}")
    return headers


class UnknownMasked(ValueError):
    """The value of the header `name` is the mask, but no value is kept for this header."""

    def __init__(self, name: str) -> None:
        super().__init__(f"has the value {MASK}, which stands for one that is kept, and none is")
        self.name = name


def unmask(given: Mapping[str, str], kept: Mapping[str, str]) -> dict[str, str]:
    """The headers `given`, with each mask replaced by the kept value of the same name. Upper and
    lower case are the same in names. Raises UnknownMasked, and ValueError as `check_headers`
    does."""
    values = {name.lower(): value for name, value in kept.items()}
    headers = {}
    for name, value in given.items():
        if value != MASK:
            headers[name] = value
        elif name.lower() in values:
            headers[name] = values[name.lower()]
        else:
            raise UnknownMasked(name)
    return check_headers(headers)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a delivery is retried. The schedule is `ladder`, which is its name, or
    `delays_ms`, which is a list of its own. With a schedule, `max_retries` is its length, and
    `retry_delay_ms` is kept for the time when there is none."""

    max_retries: int
    retry_delay_ms: int
    ladder: str | None = None
    delays_ms: Sequence[int] | None = None

    @property
    def schedule(self) -> tuple[int, ...] | None:
        return schedule_of(self.ladder, self.delays_ms)


def merge_retry_policy(
    before: RetryPolicy,
    *,
    max_retries: int | None,
    retry_delay_ms: int | None,
    schedule: str | Sequence[int] | None,
    with_schedule: bool,
) -> RetryPolicy:
    """The policy after the given changes. `max_retries` and `retry_delay_ms` are None if they were
    left out. `schedule` counts only if `with_schedule` is true, and None then removes the schedule.
    Raises ValueError if `max_retries` is not the length of the schedule."""
    merged = replace(
        before,
        max_retries=before.max_retries if max_retries is None else max_retries,
        retry_delay_ms=before.retry_delay_ms if retry_delay_ms is None else retry_delay_ms,
    )
    if with_schedule:
        ladder, delays = (schedule, None) if schedule is None or isinstance(schedule, str) else (None, tuple(schedule))
        merged = replace(merged, ladder=ladder, delays_ms=delays)
    if merged.schedule is None:
        return merged
    length = len(merged.schedule)
    if max_retries not in {None, length}:
        raise ValueError(f"must be {length}, the length of the schedule, or left out; without a schedule it is free")
    return replace(merged, max_retries=length)


def check_schedule(schedule: Sequence[int], ttl_seconds: int) -> None:
    """Raises ValueError if the event would leave the history before its last retry."""
    if sum(schedule) > ttl_seconds * 1000:
        raise ValueError(f"lasts longer than an event is kept, which is {ttl_seconds} s")


@dataclass(frozen=True, slots=True)
class OrderPolicy:
    """Whether a webhook gets the events of an item one after the other, and what it wants when one
    of them has failed for good: `block` the later ones, or `skip` the failed one. Both fields are
    None if the webhook asks for no order."""

    ordering: str | None = None
    on_failure: str | None = None


def merge_order(
    before: OrderPolicy, *, ordering: str | None, with_ordering: bool, on_failure: str | None, with_on_failure: bool
) -> OrderPolicy:
    """The order after the given changes. `ordering` counts only if `with_ordering` is true, and
    `on_failure` only if `with_on_failure` is. Raises ValueError if `on_failure` is given without an
    order."""
    merged = ordering if with_ordering else before.ordering
    if merged is None:
        if on_failure is not None:
            raise ValueError("goes with an ordering only, and this webhook has none")
        return OrderPolicy()
    kept = on_failure if with_on_failure else before.on_failure
    return OrderPolicy(merged, kept or "block")


def mask(headers: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(headers, MASK)


def success_rate(succeeded: int, failed: int) -> str:
    """The percentage of ended deliveries that succeeded, with two decimals. `0.00` if none has
    ended."""
    ended = succeeded + failed
    return f"{100 * succeeded / ended:.2f}" if ended else "0.00"
