"""The order in which a host's addresses are tried."""

import time
from collections.abc import Sequence

from relay.rules.endpoint import Origin

# An address that failed is tried after the others for this long.
FAILED_SECONDS = 300.0
MAX_KEPT = 10_000


class AddressOrder:
    """Remembers which addresses failed in this process. The one that failed last comes last."""

    def __init__(self, failed_seconds: float = FAILED_SECONDS) -> None:
        self._failed_seconds = failed_seconds
        # When each address failed, in monotonic seconds, the longest ago first.
        self._failed: dict[tuple[Origin, str], float] = {}

    def failed(self, origin: Origin, address: str) -> None:
        self._failed.pop((origin, address), None)
        self._failed[origin, address] = time.monotonic()
        if len(self._failed) > MAX_KEPT:
            del self._failed[next(iter(self._failed))]

    def answered(self, origin: Origin, address: str) -> None:
        if self._failed:
            self._failed.pop((origin, address), None)

    def sort(self, origin: Origin, addresses: Sequence[str], retry: int) -> Sequence[str]:
        """`retry`: how many attempts failed before this one. The first attempt has 0, and keeps the
        resolver's order.

        Each retry starts at the next address of the sorted list. The next retry may be made by
        another relay, which does not know where earlier attempts went. The attempts still cover as
        many addresses as there are retries.
        """
        if len(addresses) < 2:
            return addresses
        if retry:
            start = retry % len(addresses)
            ascending = sorted(addresses)
            addresses = ascending[start:] + ascending[:start]
        if not self._failed:
            return addresses
        forgotten = time.monotonic() - self._failed_seconds
        failed = {address: self._failed.get((origin, address), forgotten) for address in addresses}
        return sorted(addresses, key=lambda address: max(failed[address], forgotten))
