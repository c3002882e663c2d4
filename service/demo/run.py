"""The demo from beginning to end: start everything, drive it, wait until all events have arrived,
end everything, and count."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Self

import aiohttp

from service.demo.children import Child, ChildDied, Children, Ended
from service.demo.client import Api
from service.demo.drive import Driver
from service.demo.screen import Screen
from service.demo.seed import ADMIN, SUPERVISOR, seed_inventory, seed_users, sign_in
from service.demo.subscribe import Subscription, delete_leftovers, subscribe
from service.demo.succession import Succession
from service.demo.tally import Received, count, mark, relays_ready, waiting
from service.platform.db import AWAY, Pool, connect, open_pool
from service.platform.errors import JossieError, StartupError
from service.platform.lifecycle import database
from service.platform.migrate import LOCK_CLASS, migrate
from service.platform.queries import load
from service.platform.settings import Settings

HOST = "127.0.0.1"
RELAYS = 2
FAILED, INTERRUPTED = 1, 130
LOCK_DEMO = 4
_RECEIVER = Path(__file__).resolve().parents[2] / "examples" / "receivers" / "python_stdlib.py"
_FAIL_ONE_IN = "8"
_START_SECONDS = 60.0
_DRAIN_SECONDS = 30.0
_POLL_SECONDS = 0.05


def run(settings: Settings, *, port: int, seconds: float | None) -> int:
    """Runs until Ctrl-C, or for so many seconds of mutations. Port 0 takes a free port.

    Returns the exit code: 0 if nothing was lost and every signature was right. Raises StartupError
    if the demo cannot begin.
    """
    if settings.jossiedb_env == "production":
        raise StartupError(
            "the demo makes users whose passwords are known; it does not run with JOSSIEDB_ENV=production"
        )
    if not _RECEIVER.exists():
        raise StartupError(f"the demo needs {_RECEIVER}: run it from a checkout")
    # The demo holds the port from here on. So only the API that gets this socket can answer there,
    # and no program that ran before.
    listener = _listen(port)
    demo = Demo(settings, listener, seconds)
    try:
        return asyncio.run(demo.run())
    except StartupError:
        raise
    except ChildDied as died:
        demo.screen.complain(str(died), *died.lines)
    except (JossieError, aiohttp.ClientError, *AWAY) as error:
        demo.screen.complain(str(error) or type(error).__name__)
    finally:
        listener.close()
    return FAILED


class Demo:
    """One run. It prints to `screen`."""

    def __init__(self, settings: Settings, listener: socket.socket, seconds: float | None) -> None:
        self.screen = Screen()
        self._settings = settings
        self._listener = listener
        self._seconds = seconds
        self._address = f"http://{HOST}:{listener.getsockname()[1]}"
        self._received = Received()
        self._names: dict[str, str] = {}
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._driving = False

    async def run(self) -> int:
        main = asyncio.ensure_future(self._run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._interrupted, main)
        try:
            return await main
        except asyncio.CancelledError:
            self.screen.say("ended before it had begun")
            return INTERRUPTED

    def _interrupted(self, main: "asyncio.Future[int]") -> None:
        """The first Ctrl-C ends the driving, or the start if that is not over. The second one stops
        the wait for events that have not arrived."""
        if self._stop.is_set():
            self._hurry.set()
        elif not self._driving:
            main.cancel()
        self._stop.set()

    async def _run(self) -> int:
        data_dir = self._settings.jossiedb_data_dir
        logs = data_dir / "logs"
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(self._database())
            await seed_users(pool)
            logs.mkdir(parents=True, exist_ok=True)
            secrets = stack.enter_context(_PrivateFile(data_dir / "demo_receiver_secrets"))
            children = await stack.enter_async_context(Children(logs))
            receiver, receiver_address = await self._start_receiver(children, secrets.path)
            reading = asyncio.ensure_future(self._read(receiver))
            succession = await stack.enter_async_context(Succession(pool, self.screen.notice))
            api, relays = await self._start_senders(children, pool, succession)

            http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
            anyone = Api(http, self._address)
            clients = await sign_in(anyone)
            admin, supervisor = clients[ADMIN.username], clients[SUPERVISOR.username]
            await self._prepare(admin, supervisor)
            beginning = await mark(pool)
            everything, purchasing = await subscribe(admin, supervisor, receiver_address)
            self._names = {one.id: one.name for one in (everything, purchasing)}
            secrets.write(f"{everything.secret}\n{purchasing.secret}\n")

            # Offer the leader to be killed: it has the most to lose.
            leader = await load("demo").leader.fetchval(pool)
            self.screen.welcome(self._address, (await admin.get("/items?limit=1"))[0], logs, leader)
            with self.screen:
                await self._drive(children, Driver(anyone, clients, self.screen.mutation, Random()))
                self.screen.say("ending: waiting until everything has arrived")
                await self._drain(children, pool, (everything, purchasing))
                # Nobody can write any more now. Wait also for events that were written meanwhile.
                await children.end(api)
                await self._drain(children, pool, (everything, purchasing))
                await children.end(*relays)
                await children.end(receiver)
                await reading
            tally = await count(pool, beginning, self._received, everything, purchasing)
        self.screen.summary(tally)
        return 0 if tally.good else FAILED

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[Pool]:
        """A migrated database. If it is on the embedded server, that server is held meanwhile."""
        async with AsyncExitStack() as stack:
            if self._settings.database_url is None:
                self.screen.say(f"starting PostgreSQL; its data is in {self._settings.jossiedb_data_dir}")
            url = await stack.enter_async_context(database(self._settings))
            # Stays open, because it holds the lock.
            connection = await connect(url, application_name="jossiedb demo")
            stack.push_async_callback(connection.close)
            if not await load("migrate").try_lock.fetchval(connection, class_id=LOCK_CLASS, object_id=LOCK_DEMO):
                raise StartupError(
                    "another demo runs on this database; end it first, or give this one its own with JOSSIEDB_DATA_DIR"
                )
            await migrate(connection)
            pool = await open_pool(url, application_name="jossiedb demo", size=2)
            stack.push_async_callback(pool.close)
            yield pool

    async def _start_receiver(self, children: Children, secrets: Path) -> tuple[Child, str]:
        environment = os.environ | {"PORT": "0", "FAIL_ONE_IN": _FAIL_ONE_IN, "WEBHOOK_SECRETS_FILE": str(secrets)}
        receiver = await children.start("receiver", str(_RECEIVER), environment=environment, read_output=True)
        first = await children.unless_one_dies(_output(receiver).readline())
        return receiver, json.loads(first)["listening"].rstrip("/")

    async def _start_senders(self, children: Children, pool: Pool, succession: Succession) -> tuple[Child, list[Child]]:
        environment = os.environ | {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
        serve = ("-m", "service", "serve", "--fd", str(self._listener.fileno()))
        api = await children.start(
            "api", *serve, environment=environment, sockets=[self._listener], on_ended=self._api_ended
        )
        relays = [
            await children.start(
                f"relay-{number}", "-m", "relay", environment=environment, on_ended=succession.relay_ended
            )
            for number in range(1, RELAYS + 1)
        ]
        succession.relays = relays
        await _until(children, self._api_answers, _START_SECONDS, "the API does not answer")
        await _until(children, lambda: relays_ready(pool, RELAYS), _START_SECONDS, "the relays do not get ready")
        return api, relays

    def _api_ended(self, child: Child, ended: Ended) -> None:
        self.screen.notice(f"{child.name} {ended} and is started again; nothing that it had committed is lost")

    async def _api_answers(self) -> bool:
        try:
            async with aiohttp.request("GET", f"{self._address}/api/v1/health") as response:
                return response.ok
        except aiohttp.ClientError:
            return False

    async def _prepare(self, admin: Api, supervisor: Api) -> None:
        for owner in (admin, supervisor):
            if leftovers := await delete_leftovers(owner):
                self.screen.say(f"deleted {leftovers} webhooks of an earlier demo")
        if made := await seed_inventory(admin):
            self.screen.say(f"made an inventory of {made} items")

    async def _read(self, receiver: Child) -> None:
        async for raw in _output(receiver):
            line = json.loads(raw)
            self._received.add(line)
            self.screen.delivery(self._names.get(line["webhook"], line["webhook"]), line, self._received)

    async def _drive(self, children: Children, driver: Driver) -> None:
        self._driving = True
        if self._seconds is not None:
            # Set an event instead of cancelling the driver. So it finishes the request that is
            # under way, and its event is counted.
            asyncio.get_running_loop().call_later(self._seconds, self._stop.set)
        await children.unless_one_dies(driver.run(self._stop))

    async def _drain(self, children: Children, pool: Pool, subscriptions: Sequence[Subscription]) -> None:
        async def drained() -> bool:
            return self._hurry.is_set() or not any(await waiting(pool, subscriptions))

        try:
            await _until(children, drained, _DRAIN_SECONDS, "")
        except NotInTime:
            outbox, deliveries = await waiting(pool, subscriptions)
            self.screen.complain(
                f"after {_DRAIN_SECONDS:.0f} s {outbox} events are not fanned out and {deliveries} deliveries still owed"
            )


class NotInTime(JossieError):
    """Something that the demo waited for did not happen."""


async def _until(children: Children, true: Callable[[], Awaitable[bool]], seconds: float, otherwise: str) -> None:
    """Waits until `true` returns true. Raises NotInTime with the words `otherwise`, or
    ChildDied."""

    async def wait() -> None:
        while not await true():  # noqa: ASYNC110  # other processes bring it about
            await asyncio.sleep(_POLL_SECONDS)

    try:
        async with asyncio.timeout(seconds):
            await children.unless_one_dies(wait())
    except TimeoutError:
        raise NotInTime(f"{otherwise} after {seconds:.0f} s") from None


def _output(child: Child) -> asyncio.StreamReader:
    assert child.process.stdout is not None, "started to be read"
    return child.process.stdout


def _listen(port: int) -> socket.socket:
    """A socket that listens on the port, or on a free one for 0. Raises StartupError if it is
    taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise StartupError(
            f"port {port} cannot be listened on ({os.strerror(error.errno or 0).lower()}); free it, or choose another with --port"
        ) from None


class _PrivateFile:
    """A file that only its owner can read, for as long as the context lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        # A killed demo may have left a file that anybody can read.
        self.path.unlink(missing_ok=True)
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return self

    def __exit__(self, *error: object) -> None:
        self.path.unlink(missing_ok=True)

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="ascii")
