"""Webhooks as the sender needs them, with their secrets opened, kept in memory until their version changes. A version
grows by a random step with each change: a database that was restored would count to the same number once more."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import orjson

from relay.shares import NOWHERE, Place, Places
from service.platform.backoff import schedule_of
from service.platform.queries import Executor, load
from service.platform.sign import Signer
from service.platform.vault import SealBroken, Vault

_SQL = load("claim")
MAX_CACHED = 10_000


@dataclass(slots=True)
class Target:
    """Where to send and how; never changed once it is made. `broken` says why it cannot be signed; secret and headers are empty
    then. `place` is what its requests are counted under, and is the same for all versions with one URL."""

    webhook_id: UUID
    version: int
    url: str
    max_retries: int
    retry_delay_ms: int
    timeout_ms: int
    schedule: tuple[int, ...] | None = None
    # Only of a webhook that asks for order: what a delivery that failed for good does to the later ones of its item.
    on_failure: str | None = None
    secret: str = field(default="", repr=False)
    # The secret before it, which signs too until this moment, by the database's clock.
    previous_secret: str | None = field(default=None, repr=False)
    overlap_until: datetime | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    broken: str | None = None
    place: Place = field(default=NOWHERE, repr=False, compare=False)
    signer: Signer = field(init=False, repr=False, compare=False)
    previous_signer: Signer | None = field(init=False, repr=False, compare=False)
    # The subscriber's headers as the log shows them: the beginning of a JSON object.
    masked_headers: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.signer = Signer(self.secret)
        self.previous_signer = None if self.previous_secret is None else Signer(self.previous_secret)
        masked = "".join([f'{orjson.dumps(name).decode()}:"[set]",' for name in self.headers])
        self.masked_headers = masked

    def second_signer(self, timestamp: int) -> Signer | None:
        """The signer of the secret before, if both sign at that moment, in Unix seconds."""
        if self.overlap_until is None or timestamp >= self.overlap_until.timestamp():
            return None
        return self.previous_signer


class Targets:
    def __init__(self, vault: Vault, places: Places) -> None:
        self._vault = vault
        self._places = places
        self._cache: OrderedDict[UUID, Target] = OrderedDict()

    async def load(self, connection: Executor, wanted: Iterable[tuple[UUID, int]]) -> dict[UUID, Target]:
        """The targets of (webhook id, version at the claim). One that was just removed is missing."""
        versions = dict(wanted)
        stale = [
            webhook_id
            for webhook_id, version in versions.items()
            if (known := self._cache.get(webhook_id)) is None or known.version != version
        ]
        if stale:
            for row in await _SQL.targets.fetch(connection, webhook_ids=stale):
                self._cache[row["id"]] = self._open(row, self._cache.get(row["id"]))
        found = {}
        for webhook_id in versions:
            if (target := self._cache.get(webhook_id)) is not None:
                self._cache.move_to_end(webhook_id)
                found[webhook_id] = target
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return found

    async def load_fresh(self, connection: Executor, webhook_id: UUID) -> Target | None:
        """A target as it is now, whatever is cached; None if there is no such webhook."""
        rows = await _SQL.targets.fetch(connection, webhook_ids=[webhook_id])
        known = self._cache.pop(webhook_id, None)
        for row in rows:
            self._cache[webhook_id] = self._open(row, known)
        return self._cache.get(webhook_id)

    def place(self, webhook_id: UUID) -> Place | None:
        """None if it is not cached."""
        return known.place if (known := self._cache.get(webhook_id)) is not None else None

    def _open(self, row: asyncpg.Record, known: Target | None) -> Target:
        webhook_id: UUID = row["id"]
        secret, previous, headers, broken = "", None, {}, None
        try:
            secret = self._vault.open(row["secret_sealed"], webhook_id.bytes).decode()
            if row["previous_secret_sealed"] is not None:
                previous = self._vault.open(row["previous_secret_sealed"], webhook_id.bytes).decode()
            if row["headers_sealed"] is not None:
                headers = orjson.loads(self._vault.open(row["headers_sealed"], webhook_id.bytes))
        except SealBroken as error:
            broken = str(error)
        url: str = row["url"]
        return Target(
            webhook_id=webhook_id,
            version=row["version"],
            url=url,
            max_retries=row["max_retries"],
            retry_delay_ms=row["retry_delay_ms"],
            timeout_ms=row["timeout_ms"],
            schedule=schedule_of(row["retry_ladder"], row["retry_delays_ms"]),
            on_failure=row["on_failure"],
            secret=secret,
            previous_secret=previous,
            overlap_until=row["overlap_until"],
            headers=headers,
            broken=broken,
            place=known.place if known is not None and known.url == url else self._places.of(row["owner_id"], url),
        )
