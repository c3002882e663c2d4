import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from service.delivery.sign import Signer, new_secret, sign_data, sign_message
from service.platform.canonical import dumps


def test_gives_the_published_vector() -> None:
    signature = sign_message(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_the_published_library_accepts_it(text: str) -> None:
    secret, now, body = new_secret(), int(time.time()), dumps({"text": text}).encode()
    headers = {
        "webhook-id": "msg",
        "webhook-timestamp": str(now),
        "webhook-signature": sign_message(secret, "msg", now, body),
    }
    Webhook(secret).verify(body, headers)


def test_the_older_signature_has_the_whole_secret_string_as_its_key() -> None:
    secret, data = new_secret(), '{"name":"½ 漢字"}'.encode()
    assert sign_data(secret, data) == hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.binary(max_size=300))
def test_both_signatures_are_hmac_whatever_the_secret(secret: str, data: bytes) -> None:
    """Shorter than a block of the hash, as long, or longer."""
    signer = Signer(secret)
    assert signer.data(data) == hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
    key = base64.b64decode(new_secret().removeprefix("whsec_")) * (len(data) % 4) + data
    signer = Signer("whsec_" + base64.b64encode(key).decode())
    expected = base64.b64encode(hmac.new(key, b"msg.1." + data, hashlib.sha256).digest()).decode()
    assert signer.message("msg", 1, data) == f"v1,{expected}"


@pytest.mark.parametrize("secret", ["not base64!", "abc", "schlüssel"])
def test_a_secret_that_is_not_base64_is_its_own_key(secret: str) -> None:
    signed = b"msg.1.{}"
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    assert sign_message(secret, "msg", 1, b"{}") == "v1," + base64.b64encode(expected).decode()


def test_secrets_are_32_random_bytes() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("whsec_") and len(secret) == len("whsec_") + 44 for secret in secrets)
