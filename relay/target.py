"""Webhooks as the sender needs them, with their secrets opened, kept in memory until their version changes."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
import orjson

from service.platform.backoff import schedule_of
from service.platform.db import is_of_a_row
from service.platform.logs import get_logger
from service.platform.queries import Executor, load
from service.platform.sign import Signer
from service.platform.vault import SealBroken, Vault

_log = get_logger(__name__)
_SQL = load("claim")
MAX_CACHED = 10_000


@dataclass(slots=True)
class Target:
    """Where to send and how; never changed once it is made. `broken` says why it cannot be signed; secret and headers are empty
    then."""

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
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    broken: str | None = None
    signer: Signer = field(init=False, repr=False, compare=False)
    # The subscriber's headers as the log shows them: the beginning of a JSON object.
    masked_headers: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.signer = Signer(self.secret)
        masked = "".join([f'{orjson.dumps(name).decode()}:"[set]",' for name in self.headers])
        self.masked_headers = masked


class Targets:
    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._cache: OrderedDict[UUID, Target] = OrderedDict()

    async def load(self, connection: Executor, wanted: Iterable[tuple[UUID, int]]) -> dict[UUID, Target]:
        """The targets of (webhook id, version at the claim). One that was just removed is missing."""
        versions = dict(wanted)
        stale = [
            webhook_id
            for webhook_id, version in versions.items()
            if (known := self._cache.get(webhook_id)) is None or known.version < version
        ]
        if stale:
            for row in await _rows(connection, stale):
                self._cache[row["id"]] = self._open(row)
        found: dict[UUID, Target] = {}
        for webhook_id in versions:
            if (target := self._cache.get(webhook_id)) is not None:
                self._cache.move_to_end(webhook_id)
                found[webhook_id] = target
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return found

    async def load_fresh(self, connection: Executor, webhook_id: UUID) -> Target | None:
        """A target as it is now, whatever is cached; None if there is no such webhook."""
        self._cache.pop(webhook_id, None)
        return (await self.load(connection, [(webhook_id, 1)])).get(webhook_id)

    def _open(self, row: asyncpg.Record) -> Target:
        """Whatever is wrong with the row is that webhook's alone: its target is broken then, and says why."""
        webhook_id: UUID = row["id"]
        secret, headers, broken = "", dict[str, str](), None
        try:
            secret = self._vault.open_text(row["secret_sealed"], webhook_id.bytes)
            if row["headers_sealed"] is not None:
                headers = self._vault.open_headers(row["headers_sealed"], webhook_id.bytes)
        except SealBroken as error:
            secret, broken = "", str(error)
        try:
            return self._target(row, secret, headers, broken)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's
            _log.exception("a webhook's row cannot be used", webhook_id=str(webhook_id))
            return Target(webhook_id, row["version"], "", 0, 0, 0, broken=f"its row cannot be used: {error!r}")

    @staticmethod
    def _target(row: asyncpg.Record, secret: str, headers: dict[str, str], broken: str | None) -> Target:
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
            headers=headers,
            broken=broken,
        )


async def _rows(connection: Executor, webhook_ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """One that makes the statement fail is missing, as one that was just removed."""
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
