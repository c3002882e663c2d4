from ipaddress import ip_network

import pytest

from service.webhooks.cautions import private_receiver

TEN = [ip_network("10.0.0.0/8")]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.5:8080",
        "169.254.169.254",
        "192.168.1.1",
        "0.0.0.0",
        "[::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.5]",
        "[64:ff9b::a00:5]",
        "localhost",
        "LocalHost.",
        "api.localhost:3000",
        "printer.local",
        "host.docker.internal",
        "nas.lan",
        "box.home.arpa",
        "receiver",
        "receiver:8080",
    ],
)
def test_a_host_that_is_private_by_itself_is_warned_about(host: str) -> None:
    warning = private_receiver(f"http://{host}/hook?token=x", [])
    assert warning is not None
    assert "WEBHOOK_ALLOWED_NETWORKS" in warning
    assert "token" not in warning


@pytest.mark.parametrize(
    "host", ["your-app.com", "8.8.8.8", "[2001:4860:4860::8888]", "localhost.example.com", "xinternal.com"]
)
def test_a_host_that_may_be_public_is_not(host: str) -> None:
    assert private_receiver(f"https://{host}/hook", []) is None


def test_what_is_in_an_allowed_network_is_not_warned_about() -> None:
    assert private_receiver("http://10.0.0.5/", TEN) is None
    assert private_receiver("http://[::ffff:10.0.0.5]/", TEN) is None
    assert private_receiver("http://192.168.0.5/", TEN) is not None


def test_a_name_for_loopback_is_judged_by_its_addresses() -> None:
    assert private_receiver("http://localhost/", TEN) is not None
    for network in ("127.0.0.0/8", "::1/128"):
        assert private_receiver("http://localhost/", [ip_network(network)]) is None


def test_another_private_name_may_lead_into_an_allowed_network() -> None:
    for host in ("receiver", "printer.local"):
        assert private_receiver(f"http://{host}/", TEN) is None
