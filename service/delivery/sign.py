"""The two signatures of a delivery."""

import base64
import binascii
import hashlib
import secrets

PREFIX = "whsec_"

_BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_sha256 = hashlib.sha256


def new_secret() -> str:
    """`whsec_` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


class Signer:
    """Makes both signatures with one secret.

    HMAC-SHA256 is two hashes, an inner and an outer one (RFC 2104). Each begins with a block that
    depends on the key alone. A signer keeps both blocks. OpenSSL's HMAC makes them anew for each
    message, which takes longer than hashing the message."""

    __slots__ = ("_data_inner", "_data_outer", "_message_inner", "_message_outer")

    def __init__(self, secret: str) -> None:
        # A secret without the prefix comes from an older system. It is the key itself, even if it
        # is valid base64.
        key = secret.encode()
        if secret.startswith(PREFIX):
            try:
                key = binascii.a2b_base64(secret.removeprefix(PREFIX), strict_mode=True)
            except ValueError:
                pass
        self._message_inner, self._message_outer = _blocks(key)
        self._data_inner, self._data_outer = _blocks(secret.encode())

    def data(self, data: bytes) -> str:
        """`X-Webhook-Signature`: the HMAC-SHA256 of the bytes of `data`, in lower-case hex. The key
        is the whole secret, with its prefix."""
        return _sha256(self._data_outer + _sha256(self._data_inner + data).digest()).hexdigest()

    def message(self, message_id: str, timestamp: int, body: bytes) -> str:
        """`webhook-signature` of Standard Webhooks. The key is decoded from the base64 after
        `whsec_`. A secret without such base64 is the key itself. `timestamp` is in Unix seconds."""
        inner = _sha256(b"%s%s.%d.%s" % (self._message_inner, message_id.encode(), timestamp, body)).digest()
        signature = _sha256(self._message_outer + inner).digest()
        return "v1," + binascii.b2a_base64(signature, newline=False).decode()


def _blocks(key: bytes) -> tuple[bytes, bytes]:
    """The inner block and the outer block of `key`."""
    key = (_sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return key.translate(_INNER), key.translate(_OUTER)


def sign_data(secret: str, data: bytes) -> str:
    """`X-Webhook-Signature`, for one message."""
    return Signer(secret).data(data)


def sign_message(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`webhook-signature`, for one message."""
    return Signer(secret).message(message_id, timestamp, body)
