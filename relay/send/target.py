"""Webhooks as the sender needs them, with their secrets opened. They are kept in memory until their
version changes. With each change, a version grows by a random step. If it counted up by one, a
restored database would come to the same number again with other content."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import orjson

from relay.rules.shares import NOWHERE, Place, Places
from service.delivery.backoff import schedule_of
from service.delivery.sign import Signer
from service.platform.db import is_of_a_row
from service.platform.logs import get_logger
from service.platform.queries import Executor, load
from service.platform.vault import SealBroken, Vault

_log = get_logger(__name__)
_SQL = load("target")
MAX_CACHED = 10_000


@dataclass(slots=True)
class Target:
    """A webhook's URL and everything else that a request to it needs. It never changes once it is
    made. `broken` says why its requests cannot be signed; secret and headers are empty then.
    `place` holds the counts that its requests belong to, and is the same for all versions with one
    URL."""

    webhook_id: UUID
    version: int
    url: str
    max_retries: int
    retry_delay_ms: int
    timeout_ms: int
    schedule: tuple[int, ...] | None = None
    # For a webhook that asks for order: what happens to an item's later events when one has failed
    # for good. None for other webhooks.
    on_failure: str | None = None
    secret: str = field(default="", repr=False)
    # The previous secret. It signs, too, until `overlap_until`, by the database's clock.
    previous_secret: str | None = field(default=None, repr=False)
    overlap_until: datetime | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    broken: str | None = None
    place: Place = field(default=NOWHERE, repr=False, compare=False)
    signer: Signer = field(init=False, repr=False, compare=False)
    previous_signer: Signer | None = field(init=False, repr=False, compare=False)
    # The owner's headers as the log shows them: the beginning of a JSON object.
    masked_headers: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.signer = Signer(self.secret)
        self.previous_signer = None if self.previous_secret is None else Signer(self.previous_secret)
        masked = "".join([f'{orjson.dumps(name).decode()}:"[set]",' for name in self.headers])
        self.masked_headers = masked

    def second_signer(self, timestamp: int) -> Signer | None:
        """The signer of the previous secret, if both secrets sign at this time, in Unix seconds."""
        if self.overlap_until is None or timestamp >= self.overlap_until.timestamp():
            return None
        return self.previous_signer


class Targets:
    def __init__(self, vault: Vault, places: Places) -> None:
        self._vault = vault
        self._places = places
        self._cache: OrderedDict[UUID, Target] = OrderedDict()

    async def load(self, connection: Executor, wanted: Iterable[tuple[UUID, int]]) -> dict[UUID, Target]:
        """The targets of these webhooks. `wanted`: the id, and the version at the claim. A webhook
        that was just removed is missing."""
        versions = dict(wanted)
        stale = [
            webhook_id
            for webhook_id, version in versions.items()
            if (known := self._cache.get(webhook_id)) is None or known.version != version
        ]
        if stale:
            for row in await _rows(connection, stale):
                self._cache[row["id"]] = self._open(row, self._cache.get(row["id"]))
        found: dict[UUID, Target] = {}
        for webhook_id in versions:
            if (target := self._cache.get(webhook_id)) is not None:
                self._cache.move_to_end(webhook_id)
                found[webhook_id] = target
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return found

    async def load_fresh(self, connection: Executor, webhook_id: UUID) -> Target | None:
        """The target as it is now, whatever is cached. None if there is no such webhook."""
        rows = await _SQL.targets.fetch(connection, webhook_ids=[webhook_id])
        known = self._cache.pop(webhook_id, None)
        for row in rows:
            self._cache[webhook_id] = self._open(row, known)
        return self._cache.get(webhook_id)

    def place(self, webhook_id: UUID) -> Place | None:
        """None if the webhook is not cached."""
        return known.place if (known := self._cache.get(webhook_id)) is not None else None

    def _open(self, row: asyncpg.Record, known: Target | None) -> Target:
        """A bad row affects only its own webhook: its target is broken then, and says why."""
        webhook_id: UUID = row["id"]
        secret, previous, headers, broken = "", None, dict[str, str](), None
        try:
            secret = self._vault.open_text(row["secret_sealed"], webhook_id.bytes)
            if row["previous_secret_sealed"] is not None:
                previous = self._vault.open_text(row["previous_secret_sealed"], webhook_id.bytes)
            if row["headers_sealed"] is not None:
                headers = self._vault.open_headers(row["headers_sealed"], webhook_id.bytes)
        except SealBroken as error:
            secret, previous, broken = "", None, str(error)
        try:
            return self._target(row, self._place_of(row, known), secret, previous, headers, broken)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's
            _log.exception("a webhook's row cannot be used", webhook_id=str(webhook_id))
            return Target(
                webhook_id,
                row["version"],
                "",
                0,
                0,
                0,
                broken=f"its row cannot be used: {error!r}",
                place=self._places.of(row["owner_id"], ""),
            )

    def _place_of(self, row: asyncpg.Record, known: Target | None) -> Place:
        if known is not None and known.url == row["url"]:
            return known.place
        return self._places.of(row["owner_id"], row["url"])

    @staticmethod
    def _target(
        row: asyncpg.Record,
        place: Place,
        secret: str,
        previous: str | None,
        headers: dict[str, str],
        broken: str | None,
    ) -> Target:
        return Target(
            webhook_id=row["id"],
            version=row["version"],
            url=row["url"],
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
            place=place,
        )


async def _rows(connection: Executor, webhook_ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """Reads the rows of these webhooks. A row that makes the statement fail is missing, like one
    that was just removed."""
    try:
        return await _SQL.targets.fetch(connection, webhook_ids=webhook_ids)
    except Exception as error:
        if not is_of_a_row(error):
            raise
        if len(webhook_ids) == 1:
            _log.exception("a webhook's row cannot be read", webhook_id=str(webhook_ids[0]))
            return []
    half = len(webhook_ids) // 2
    return await _rows(connection, webhook_ids[:half]) + await _rows(connection, webhook_ids[half:])
