"""A URL as a request to it: our fast way gives the same as yarl."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.rules import endpoint
from service.webhooks.rules import check_url

HOSTS = st.sampled_from(
    ["a.test", "A.test", "127.0.0.1", "[::1]", "a.test.", "x_y", "-", "1", "a..b", "xn--mnchen-3ya.de", "b@a", ""]
)
PORTS = st.sampled_from(["", ":", ":80", ":443", ":0080", ":8443", ":65535", ":65536", ":99999", ":x"])
TAILS = st.text(st.sampled_from("/?#%.~a1 &=+;:@!$\"'()*,[]<>{}|^`\\-_\u00e9"), max_size=12)


@given(st.sampled_from(["http", "https", "HTTP", "ftp"]), HOSTS, PORTS, TAILS)
@example("http", "a.test", "", "/%2F/../a?b=%20&c#d")
@example("https", "a.test", ":443", "?a=1")
def test_it_is_read_as_yarl_reads_it(scheme: str, host: str, port: str, tail: str) -> None:
    text = f"{scheme}://{host}{port}{tail}"
    try:
        expected = endpoint._parse_any(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            endpoint.parse(text)
        return
    assert endpoint.parse(text) == expected


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("http://a.test", "POST / HTTP/1.1\r\nHost: a.test\r\n"),
        ("http://a.test:80/x", "POST /x HTTP/1.1\r\nHost: a.test\r\n"),
        ("https://a.test:80?x=/%2f", "POST /?x=/%2f HTTP/1.1\r\nHost: a.test:80\r\n"),
        ("http://[::1]:8080/a/../b", "POST /a/../b HTTP/1.1\r\nHost: [::1]:8080\r\n"),
        ("https://A.test/", "POST / HTTP/1.1\r\nHost: A.test\r\n"),
    ],
)
def test_the_beginning_of_a_request(url: str, start: str) -> None:
    assert endpoint.parse(check_url(url)).start == start
