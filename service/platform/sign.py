"""The two signatures of a delivery."""

import base64
import binascii
import hashlib
import hmac
import secrets

PREFIX = "whsec_"


def new_secret() -> str:
    """`whsec_` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


class Signer:
    """Both signatures under one secret. Its keys are worked in once: that is most of the work for a short message."""

    __slots__ = ("_data", "_message")

    def __init__(self, secret: str) -> None:
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            # A secret that is not base64, of an older system say: the specification leaves its key open, so the string it is.
            key = secret.encode()
        self._data = hmac.new(secret.encode(), digestmod=hashlib.sha256)
        self._message = hmac.new(key, digestmod=hashlib.sha256)

    def data(self, data: bytes) -> str:
        """`X-Webhook-Signature`: lower-case hex HMAC-SHA256 of the bytes of `data`; the key is the whole secret string."""
        signature = self._data.copy()
        signature.update(data)
        return signature.hexdigest()

    def message(self, message_id: str, timestamp: int, body: bytes) -> str:
        """`webhook-signature` of Standard Webhooks: the key is what the secret's base64 decodes to; `timestamp` in Unix seconds."""
        signature = self._message.copy()
        signature.update(b"%s.%d.%s" % (message_id.encode(), timestamp, body))
        return "v1," + base64.b64encode(signature.digest()).decode()


def sign_data(secret: str, data: bytes) -> str:
    """`X-Webhook-Signature`, for one message."""
    return Signer(secret).data(data)


def sign_message(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`webhook-signature`, for one message."""
    return Signer(secret).message(message_id, timestamp, body)
