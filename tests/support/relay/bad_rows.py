"""A relay, a healthy webhook, and bad webhooks beside it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from aiohttp import web

from service.platform.settings import Settings
from tests.support.database import Connection
from tests.support.receivers.receiver import Arrival, Receiver
from tests.support.relay.failing_step import FailingStep, defect, refused
from tests.support.relay.log import RelayLog
from tests.support.relay.steps import FUNCTIONS, STATEMENTS
from tests.support.rows import Webhook, add_webhook, write_event
from tests.support.waiting import until

TYPE = "item-created"
Error = Callable[[], Exception]


class BadRows:
    """A relay, a healthy webhook, and a new bad webhook for each step."""

    def __init__(
        self, connection: Connection, settings: Settings, receiver: Receiver, failing_step: FailingStep
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.receiver = receiver
        self.failing_step = failing_step
        self.log = RelayLog(connection)
        receiver.answer = self._answer

    async def begin(self) -> None:
        self.good = await add_webhook(self.connection, self.settings, f"{self.receiver.url}/good", [TYPE])

    async def _answer(self, arrival: Arrival) -> web.StreamResponse:
        if arrival.path == "/bad":
            return web.Response(status=418, headers={"x-bad": "x-bad"})
        return web.Response()

    async def bad(self, path: str = "/well", **options: object) -> Webhook:
        """A webhook whose receiver is healthy, unless `path` says otherwise."""
        return await add_webhook(self.connection, self.settings, self.receiver.url + path, [TYPE], **options)  # type: ignore[arg-type]

    async def delivered(self, event_id: object) -> None:
        """Waits until the healthy webhook has got the event."""

        def arrived() -> bool:
            return any(one.path == "/good" and one.event_id == str(event_id) for one in self.receiver.arrivals)

        await self.receiver.wait_for(arrived)

    async def others_are_delivered(self) -> None:
        """Checks that a new event is delivered and recorded."""
        event_id = await write_event(self.connection, routed=True)
        await self.delivered(event_id)
        await self.recorded(event_id)

    async def recorded(self, event_id: object) -> None:
        async def recorded() -> bool:
            return bool(
                await self.connection.fetchval(
                    "select exists (select from attempts where webhook_id = $1 and event_id = $2 and outcome = 'success')",
                    self.good.id,
                    event_id,
                )
            )

        await until(recorded, "the delivery of the other webhook is recorded")

    async def met(self) -> None:
        async def met() -> bool:
            return self.failing_step.hits > 0

        await until(met, "the fault is met")

    @asynccontextmanager
    async def failing(self, step: str, error: Error, path: str = "/well", **options: object) -> AsyncIterator[Webhook]:
        """A step that shall fail with this error, and a bad webhook for it."""
        bad = await self.bad(path, **options)
        try:
            yield bad
            self.failing_step.clear()
            await self.others_are_delivered()
        except BaseException as failed:
            failed.add_note(f"with {error.__name__} in {step}")
            raise
        self.failing_step.clear()
        await self.connection.execute("update webhooks set active = false where id = $1", bad.id)


def cases(scenario: str) -> Iterator[tuple[str, str, Error]]:
    """Step, needle and error of each case in a scenario."""
    for step in STATEMENTS.get(scenario, ()):
        for error in (refused, defect):
            yield step, "ID", error
    for step, needle in FUNCTIONS.get(scenario, {}).items():
        yield step, needle, defect


async def has_ended(world: BadRows, webhook: Webhook, event_id: object) -> None:
    async def ended() -> bool:
        return bool(
            await world.connection.fetchval(
                "select exists (select from attempts where webhook_id = $1 and event_id = $2 and outcome <> 'superseded'"
                " and (outcome = 'success' or error is not null))",
                webhook.id,
                event_id,
            )
        )

    await until(ended, "the bad row has ended, with its reason")
