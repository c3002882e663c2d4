"""Seals (encrypts) secrets in the database with AES-256-GCM, under a ring of keys.

A sealed value consists of the key's id (4 bytes, the start of the key's SHA-256), the nonce (12
bytes), and the ciphertext with its tag. The newest key seals, and every key of the ring opens. So
an operator changes the key by putting a new one in front.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.platform.errors import JossieError

KEY_BYTES = 32
_ID_BYTES = 4
_NONCE_BYTES = 12


class SealBroken(JossieError):
    """A sealed value cannot be opened. Its key is not in the ring, it was sealed for another owner,
    or it was changed."""


class Vault:
    """Seals and opens values. `keys` are 32 bytes each, the newest first.

    `owner` is bound to the ciphertext: if a value is copied to another row, it cannot be opened
    there.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("a vault needs a key")
        self._ring = {_key_id(key): AESGCM(key) for key in keys}
        self._newest = _key_id(keys[0])

    def seal(self, plaintext: bytes, owner: bytes) -> bytes:
        """Seals with the newest key."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._newest + nonce + self._ring[self._newest].encrypt(nonce, plaintext, owner)

    def open(self, sealed: bytes, owner: bytes) -> bytes:
        """Opens a value that was sealed for the same owner. Raises SealBroken."""
        key_id, nonce = sealed[:_ID_BYTES], sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        cipher = self._ring.get(key_id)
        if cipher is None:
            raise SealBroken(f"sealed under key {key_id.hex()}, which is not among WEBHOOK_SECRET_KEYS")
        try:
            return cipher.decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], owner)
        except (InvalidTag, ValueError):  # ValueError: the value was cut off inside the nonce
            raise SealBroken("a sealed value was changed, or belongs to something else") from None

    def open_text(self, sealed: bytes, owner: bytes) -> str:
        """Opens a text that was sealed as UTF-8. Raises SealBroken."""
        try:
            return self.open(sealed, owner).decode()
        except UnicodeDecodeError:
            raise SealBroken("what is sealed as a text is none") from None

    def open_headers(self, sealed: bytes, owner: bytes) -> dict[str, str]:
        """Opens header names and values that were sealed as a JSON object. Raises SealBroken."""
        try:
            headers = orjson.loads(self.open(sealed, owner))
        except orjson.JSONDecodeError:
            raise SealBroken("what is sealed as headers is not JSON") from None
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise SealBroken("what is sealed as headers is not an object of texts")
        return headers


def parse_key(text: str) -> bytes:
    """Parses a key of 32 bytes from base64 of either alphabet. Raises ValueError."""
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        raise ValueError("a key is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {len(key)} bytes, not {KEY_BYTES}")
    return key


def new_key() -> str:
    """A random key in base64."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_ID_BYTES]
