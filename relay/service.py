"""A part of a relay. It starts once, stops in order, and begins again if it fails."""

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar

from service.platform.logs import get_logger

_log = get_logger(__name__)

# The pause before a part that failed begins again.
RESTART_SECONDS = 1.0


class Service(ABC):
    name: ClassVar[str]
    task: "asyncio.Task[None]"

    @abstractmethod
    async def run(self) -> None:
        """Works until cancelled. It handles every error that rows, receivers or the server
        cause."""

    async def start(self) -> None:
        self.task = asyncio.create_task(self._keep_going(), name=self.name)

    async def stop(self) -> None:
        """Ends in order. The services that started later have ended by then."""
        await self.cancel()

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    async def _keep_going(self) -> None:
        """The outermost boundary. An exception that `run` lets through is a defect in our code. The
        part then runs again, with its state as it is. If it fails again and again, the peers do
        this relay's work: they remove a relay that cannot beat, and a relay that cannot lead
        releases the leader's lock."""
        while True:
            try:
                await self.run()
            except Exception:  # noqa: BLE001 - the last resort
                _log.exception("a part of the relay failed; it begins again", part=self.name)
                await asyncio.sleep(RESTART_SECONDS)
            else:
                return
