"""Resolves names to addresses. A name that hangs holds up no other, and answers are kept only for a
short while."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiodns

# c-ares asks again after TRY_SECONDS, and gives up after TRIES. A query as a whole ends after
# QUERY_SECONDS.
TRY_SECONDS = 2.0
TRIES = 3
QUERY_SECONDS = 10.0
# An answer is kept for its TTL, but at most this long, so that a change in the DNS takes effect. A
# failure is kept for FAILURE_SECONDS.
MAX_TTL_SECONDS = 20.0
FAILURE_SECONDS = 3.0
# If a kept failure is older than this, a retry asks again. Retries may follow each other after 100
# ms, and one bad answer of the DNS must not fail all of them.
RETRY_FAILURE_SECONDS = 0.25
MAX_QUERIES = 512
# The most addresses of one family for one name. Each may cost a connect, and the owner of the name
# chooses how many there are.
MAX_ADDRESSES = 8
MAX_KEPT = 10_000


class Unresolvable(OSError):
    """A name has no address, or its addresses did not come in time."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """Times are in monotonic seconds. After `expires_for_retry`, a retry asks again."""

    expires: float
    expires_for_retry: float
    addresses: tuple[str, ...]
    error: str = ""


class Resolver:
    """Resolves with c-ares: first /etc/hosts, then the DNS. `nameservers` (`address:port`) replace
    those of /etc/resolv.conf."""

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        query_seconds: float = QUERY_SECONDS,
        max_ttl_seconds: float = MAX_TTL_SECONDS,
        failure_seconds: float = FAILURE_SECONDS,
    ) -> None:
        self._ares = aiodns.DNSResolver(
            nameservers, asyncio.get_running_loop(), timeout=min(TRY_SECONDS, query_seconds), tries=TRIES
        )
        self._forgot = time.monotonic()
        self._query_seconds = query_seconds
        self._max_ttl = max_ttl_seconds
        self._failure_seconds = failure_seconds
        self._slots = asyncio.Semaphore(MAX_QUERIES)
        self._kept: dict[str, _Answer] = {}
        self._queries: dict[str, asyncio.Task[_Answer]] = {}

    async def resolve(self, host: str, *, retry: bool = False) -> tuple[str, ...]:
        """The addresses in the order in which to try them. Raises Unresolvable."""
        answer = self._kept.get(host)
        if answer is None or (answer.expires_for_retry if retry else answer.expires) <= time.monotonic():
            query = self._queries.get(host)
            if query is None:
                query = self._queries[host] = asyncio.create_task(self._query(host))
            # A caller that gives up must not cancel the query for the others.
            answer = await asyncio.shield(query)
        if answer.error:
            raise Unresolvable(f"cannot resolve the host: {answer.error}")
        return answer.addresses

    async def close(self) -> None:
        for query in list(self._queries.values()):
            query.cancel()
        await asyncio.gather(*self._queries.values(), return_exceptions=True)
        await self._ares.close()

    async def _query(self, host: str) -> _Answer:
        try:
            async with self._slots:
                answer = await self._ask(host)
        finally:
            del self._queries[host]
        self._kept.pop(host, None)
        if answer.expires > time.monotonic():
            self._kept[host] = answer
            if len(self._kept) > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
        return answer

    async def _ask(self, host: str) -> _Answer:
        error = "no answer in time"
        self._forget()
        try:
            async with asyncio.timeout(self._query_seconds):
                result = await self._ares.getaddrinfo(host, socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except TimeoutError:
            pass
        except (aiodns.error.DNSError, UnicodeError) as failed:
            error = str(failed.args[1]) if len(failed.args) == 2 else str(failed)
        else:
            if nodes := result.nodes:
                ttl = min(self._max_ttl, *(node.ttl for node in nodes))
                expires = time.monotonic() + ttl
                return _Answer(expires, expires, _first_of_each_family(_text(node.addr[0]) for node in nodes))
            error = "it has no address"
        now = time.monotonic()
        return _Answer(now + self._failure_seconds, now + min(self._failure_seconds, RETRY_FAILURE_SECONDS), (), error)

    def _forget(self) -> None:
        """Empties the cache of c-ares, which keeps answers as long as their TTL says, even for a
        day. aiodns has no function for that."""
        now = time.monotonic()
        if now - self._forgot >= min(self._failure_seconds, RETRY_FAILURE_SECONDS):
            self._forgot = now
            self._ares._channel.reinit()


def _first_of_each_family(addresses: Iterable[str]) -> tuple[str, ...]:
    counts = Counter[bool]()
    kept = []
    for address in addresses:
        family = ":" in address
        counts[family] += 1
        if counts[family] <= MAX_ADDRESSES:
            kept.append(address)
    return tuple(kept)


def _text(address: bytes | str) -> str:
    return address.decode() if isinstance(address, bytes) else address
