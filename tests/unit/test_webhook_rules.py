"""The rules for a webhook's fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.events.catalogue import CATALOGUE
from service.webhooks import rules
from service.webhooks.bodies import CreateWebhook, UpdateWebhook

URL = "https://example.org/hook"


def _create(**fields: Any) -> CreateWebhook:
    return CreateWebhook.model_validate({"url": URL, "events": ["item-created"], **fields})


def _refused(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        _create(**fields)
    return ".".join(str(part) for part in caught.value.errors()[0]["loc"])


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "https://your-app.com/webhooks/inventory",
        "http://localhost:3002",
        "http://127.0.0.1:8080/hook?token=a%20b&x=1",
        "https://[2001:db8::1]:8443/",
        "http://inventory_receiver:8080/hook",
        "https://example.org./",
        "https://example.org:65535/",
        "https://example.org:1/",
    ],
)
def test_a_plain_url_is_kept_as_it_was_given(url: str) -> None:
    assert rules.check_url(url) == url


def test_a_fragment_is_dropped() -> None:
    assert rules.check_url("https://example.org/hook?a=1#part") == "https://example.org/hook?a=1"


def test_characters_beyond_ascii_are_encoded_as_a_browser_would() -> None:
    assert rules.check_url("https://exämple.org/größe?q=½") == "https://xn--exmple-cua.org/gr%C3%B6%C3%9Fe?q=%C2%BD"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.org/", "http"),
        ("javascript:alert(1)", "http"),
        ("//example.org/", "http"),
        ("example.org/hook", "http"),
        ("https://", "no host"),
        ("https:///hook", "no host"),
        ("https:example.org", "no host"),
        ("https://:443/", "no host"),
        ("https://user:pass@example.org/", "login"),
        ("https://user@example.org/", "login"),
        ("https://usér:päss@example.org/", "login"),
        ("https://example.org:0/", "port"),
        ("https://example.org:65536/", "ort"),
        ("https://example.org:http/", "ort"),
        ("https://exa mple.org/", "white space"),
        ("https://example.org/a b", "white space"),
        ("https://example.org/\r\nHost: x", "white space"),
        ("https://example.org/\x00", "white space"),
        ("https:\\\\example.org\\", "backslash"),
        ("https://example.org\u00a0/", "white space"),
        ("https://[fe80::1%25eth0]/", "zone"),
        ("https://[::zz]/", "valid"),
        ("https://[1::2]x/", "valid"),
        ("https://[v1.a]/", "valid"),
        ("https://-example.org/", "valid name"),
        ("https://exa%6dple.org/", "valid name"),
        (f"https://{'a' * 64}.org/", "valid name"),
        ("https://a..b/", "valid name"),
    ],
)
def test_a_url_that_cannot_be_sent_to_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rules.check_url(url)


def test_a_url_has_at_most_2048_characters() -> None:
    longest = URL + "/" + "a" * (2048 - len(URL) - 1)
    assert _create(url=longest).url == longest
    assert _refused(url=longest + "a") == "url"


def test_a_url_that_becomes_too_long_when_it_is_encoded_is_refused() -> None:
    with pytest.raises(ValueError, match="2048"):
        rules.check_url(URL + "ß" * 1000)


@given(st.text())
def test_a_url_is_either_refused_or_stored_as_printable_ascii(text: str) -> None:
    try:
        url = rules.check_url("https://example.org/" + text)
    except ValueError:
        return
    assert all("\x21" <= character <= "\x7e" for character in url)
    assert rules.check_url(url) == url


# Events


def test_every_type_of_the_catalogue_may_be_named() -> None:
    assert _create(events=list(CATALOGUE)).events == list(CATALOGUE)


@pytest.mark.parametrize(
    ("events", "pointer"),
    [
        ([], "events"),
        ("item-created", "events"),
        (None, "events"),
        (["item-created", "item-created"], "events"),
        (["item-created", "item-exploded"], "events.1"),
        ([7], "events.0"),
        (["Item-Created"], "events.0"),
    ],
)
def test_other_lists_of_events_are_refused(events: object, pointer: str) -> None:
    assert _refused(events=events) == pointer


# Headers


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "X_Y.Z~1!", "Cookie", "a" * 128])
def test_a_header_name_is_a_token(name: str) -> None:
    assert rules.check_header_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ä", "a" * 129, "(x)"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"header name|characters"):
        rules.check_header_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "X-Webhook-Signature",
        "X-Webhook-ID",
        "X-Event-Type",
        "Content-Type",
        "User-Agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "traceparent",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Authorization",
        "Proxy-Connection",
    ],
)
def test_a_header_of_the_senders_own_is_refused_in_any_case(name: str) -> None:
    for spelling in (name, name.lower(), name.upper()):
        with pytest.raises(ValueError, match="cannot be given"):
            rules.check_header_name(spelling)


@pytest.mark.parametrize("value", ["", "Bearer xyz", "caf\xe9", "~", "v" * 4096])
def test_a_header_value_is_printable(value: str) -> None:
    assert rules.check_header_value(value) == value


@pytest.mark.parametrize(
    "value", ["a\rb", "a\nb", "a\x00b", "a\tb", "\x7f", "a\x85b", "½漢", " key", "key ", "v" * 4097]
)
def test_another_value_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ValueError, match="may") as caught:
        rules.check_header_value(value)
    assert value.strip(" ") not in str(caught.value)


def test_there_are_at_most_50_headers() -> None:
    fifty = {f"X-{number}": "v" for number in range(50)}
    assert _create(headers=fifty).headers == fifty
    assert _refused(headers={**fifty, "X-50": "v"}) == "headers"


def test_headers_have_at_most_8192_characters_together() -> None:
    headers = {"A": "v" * 4095, "B": "v" * 4095}
    assert rules.check_headers(headers) == headers
    with pytest.raises(ValueError, match="8192"):
        rules.check_headers({**headers, "B": "v" * 4096})


def test_names_that_differ_in_case_only_are_one_header() -> None:
    assert _refused(headers={"X-Key": "a", "x-key": "b"}) == "headers"


def test_a_bad_header_is_pointed_at() -> None:
    assert _refused(headers={"X-Good": "a", "X-Bad": "a\nb"}) == "headers.X-Bad"
    assert _refused(headers={"X-Number": 5}) == "headers.X-Number"
    assert _refused(headers={"Host": "x"}).startswith("headers.Host")


# The mask


def test_the_mask_keeps_a_value_in_any_case_of_its_name() -> None:
    assert rules.unmask({"authorization": rules.MASK, "X-New": "n"}, {"Authorization": "a", "X-Old": "o"}) == {
        "authorization": "a",
        "X-New": "n",
    }


def test_the_mask_needs_a_value_to_stand_for() -> None:
    with pytest.raises(rules.UnknownMasked) as caught:
        rules.unmask({"X-New": rules.MASK}, {"X-Old": "o"})
    assert caught.value.name == "X-New"


def test_values_that_the_mask_kept_count_towards_the_limit() -> None:
    with pytest.raises(ValueError, match="8192"):
        rules.unmask({"A": rules.MASK, "B": "v" * 4096}, {"A": "v" * 4096})


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(alphabet="abc", max_size=8), max_size=8))
def test_what_is_shown_masked_comes_back_unchanged(headers: dict[str, str]) -> None:
    assert rules.unmask(rules.mask(headers), headers) == headers


# Numbers


@pytest.mark.parametrize(
    ("path", "least", "most"),
    [("retryPolicy.maxRetries", 0, 20), ("retryPolicy.retryDelay", 100, 60_000), ("timeout", 5000, 60_000)],
)
def test_a_number_is_taken_within_its_bounds_only(path: str, least: int, most: int) -> None:
    def body(value: object) -> dict[str, Any]:
        outer, _, inner = path.partition(".")
        return {outer: {inner: value} if inner else value}

    for good in (least, most):
        _create(**body(good))
    for bad in (least - 1, most + 1, str(most + 1), f"{least}.0", "", least + 0.5, True, None):
        assert _refused(**body(bad)) == path


def test_a_schedule_is_the_standard_one_or_a_list_of_delays() -> None:
    for good in ("standard", [100], [86_400_000] * 20, None):
        created = _create(retryPolicy={"schedule": good})
        assert created.retryPolicy is not None
        assert created.retryPolicy.schedule == good
    for bad, where in (
        ("fast", ""),
        (5000, ""),
        ({}, ""),
        ([], ""),
        ([100] * 21, ""),
        ([99], ".0"),
        ([100, 86_400_001], ".1"),
        (["100.0"], ".0"),
        ([100.5], ".0"),
        ([True], ".0"),
        ([None], ".0"),
    ):
        loc = _refused(retryPolicy={"schedule": bad}).replace("[name]", "").replace("[delays]", "").replace("..", ".")
        assert loc.rstrip(".") == f"retryPolicy.schedule{where}"


def test_a_description_has_at_most_500_characters() -> None:
    assert _create(description="½" * 500).description == "½" * 500
    assert _create(description=None).description is None
    for bad in ("x" * 501, 5, "a\u0000b"):
        assert _refused(description=bad) == "description"


def test_a_threshold_is_a_positive_integer_or_null() -> None:
    for good in (1, 2**31 - 1, None):
        created = _create(filters={"minStockThreshold": good})
        assert created.filters is not None
        assert created.filters.minStockThreshold == good
    for bad in (0, -1, 2**31, 1.5, "five", "0", True):
        assert _refused(filters={"minStockThreshold": bad}) == "filters.minStockThreshold"


@pytest.mark.parametrize("name", ["locations", "categories"])
def test_filters_are_lists_of_ids(name: str) -> None:
    assert _refused(filters={name: ["loc-123"]}) == f"filters.{name}.0"
    assert _refused(filters={name: "0198c0de-0000-7000-8000-000000000000"}) == f"filters.{name}"
    nothings: tuple[list[str] | None, ...] = ([], None)
    for nothing in nothings:
        assert _create(filters={name: nothing}).filters is not None


# Updates


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"secret": 5}, "secret"),
        ({"secret": None}, "secret"),
        ({"url": None}, "url"),
        ({"events": None}, "events"),
        ({"events": []}, "events"),
        ({"retryPolicy": None}, "retryPolicy"),
        ({"timeout": None}, "timeout"),
        ({"active": None}, "active"),
        ({"active": "yes"}, "active"),
        ({"active": 1}, "active"),
        ({"active": True, "pending": "keep"}, "pending"),
        ({"pending": "discard"}, ""),
        ({"pending": "discard", "active": False}, ""),
    ],
)
def test_an_update_that_means_nothing_is_refused(body: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as caught:
        UpdateWebhook.model_validate(body)
    assert ".".join(str(part) for part in caught.value.errors()[0]["loc"]) == pointer


def test_what_is_left_out_of_an_update_is_not_among_what_was_given() -> None:
    assert UpdateWebhook.model_validate({"active": False}).model_fields_set == {"active"}


# Statistics


@pytest.mark.parametrize(
    ("succeeded", "failed", "rate"),
    [(0, 0, "0.00"), (0, 3, "0.00"), (3, 0, "100.00"), (49, 1, "98.00"), (2, 1, "66.67"), (1, 2, "33.33")],
)
def test_the_success_rate_has_two_decimals(succeeded: int, failed: int, rate: str) -> None:
    assert rules.success_rate(succeeded, failed) == rate
