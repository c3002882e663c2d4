"""A part of a relay: started once, stopped in order, begun again if it fails."""

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar

from service.platform.logs import get_logger

_log = get_logger(__name__)

# Between two starts of a part that fails.
RESTART_SECONDS = 1.0


class Service(ABC):
    name: ClassVar[str]
    task: "asyncio.Task[None]"

    @abstractmethod
    async def run(self) -> None:
        """Work until cancelled. What rows, receivers and the server do is caught inside."""

    async def start(self) -> None:
        self.task = asyncio.create_task(self._keep_going(), name=self.name)

    async def stop(self) -> None:
        """End in order; the services that were started later have ended."""
        await self.cancel()

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    async def _keep_going(self) -> None:
        """The outermost boundary. What `run` lets through is a defect of ours; the part begins
        again where its state is. If this happens again and again, the relay does less than its
        share, and its peers do the rest: they remove a relay that cannot beat, and a relay that
        cannot lead releases the leader's lock."""
        while True:
            try:
                await self.run()
            except Exception:  # noqa: BLE001 - the last resort
                _log.exception("a part of the relay failed; it begins again", part=self.name)
                await asyncio.sleep(RESTART_SECONDS)
            else:
                return
