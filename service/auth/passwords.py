"""Hashes and verifies passwords with Argon2id, in threads."""

import asyncio
import base64
import os

from aiohttp import web
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


class Passwords:
    """Hashes and verifies passwords in threads. At most one per core runs at a time, because each
    takes a whole core and 64 MiB."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)
        self.nobody = _unmatchable(self._hasher)

    async def hash(self, password: str) -> str:
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password belongs to the hash. Pass None if there is no such user: that takes
        as long as a real hash, and the result is always False."""
        async with self._slots:
            return await asyncio.to_thread(self._verify, password_hash or self.nobody, password)

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


PASSWORDS = web.AppKey("passwords", Passwords)


def _unmatchable(hasher: PasswordHasher) -> str:
    """A hash with today's parameters, for which nobody knows a password."""
    salt, digest = (
        base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"
