import pytest

from relay.rules import endpoint
from service.delivery.origin import UNREADABLE, origin_of


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.chat.test/services/T0/B0/token", "https://hooks.chat.test"),
        ("https://a.test?token=x", "https://a.test"),
        ("https://user:password@a.test:8443/x#y", "https://a.test:8443"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
        ("HTTP://A.test/x", "http://a.test"),
        ("http://[::1/x", UNREADABLE),
        ("http://a.test:token/x", UNREADABLE),
        ("/services/token", UNREADABLE),
        ("", UNREADABLE),
    ],
)
def test_only_scheme_host_and_port_are_shown(url: str, shown: str) -> None:
    assert origin_of(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@\u2100.test/",
        "http://a.test:hunter2/",
        "http://[hunter2]/",
        "http://hunter2\u2100/",
        "hunter2",
    ],
)
def test_the_error_of_a_url_that_cannot_be_sent_to_repeats_nothing_of_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^the URL is not one") as refused:
        endpoint.parse(url)
    assert "hunter2" not in str(refused.value)
