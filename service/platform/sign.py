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


def sign_data(secret: str, data: bytes) -> str:
    """`X-Webhook-Signature`: lower-case hex HMAC-SHA256 of the bytes of `data`; the key is the whole secret string."""
    return hmac.digest(secret.encode(), data, hashlib.sha256).hex()


def sign_message(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`webhook-signature` of Standard Webhooks: the key is what the secret's base64 decodes to; `timestamp` in Unix seconds."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        # A secret that is not base64, of an older system say: the specification leaves its key open, so the string it is.
        key = secret.encode()
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
