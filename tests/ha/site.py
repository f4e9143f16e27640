"""A pair of brokers, `mqbridge serve` and `mqbridge work`: all of it processes that can be killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Final, Self

from activemq.embedded import BrokerPair, Database, EmbeddedBroker
from activemq.embedded.pair import SHARED_JDBC
from activemq.errors import ArtifactError
from tests.bridge.callers import PATIENCE
from tests.bridge.processes import Process
from tests.brokers import skip_or_fail
from tests.databases import MariaDb
from tests.ha.echo import QUEUE
from tests.ha.load import Load

ROOT: Final = Path(__file__).parents[2]
TAKEN_OVER_WITHIN: Final = 60.0  # seconds, on a saturated machine
SLOTS: Final = 32


class Site:
    """``async with Site(shape, folder) as site``: all is well. ``heartbeat``: in seconds."""

    def __init__(self, shape: str, folder: Path, heartbeat: float = 10.0) -> None:
        self.shape = shape
        self.mariadb: MariaDb | None = None
        self._folder = folder
        self._heartbeat = heartbeat
        self._databases = ExitStack()
        self._stack = AsyncExitStack()
        self.pair: BrokerPair
        self.bridge: Process

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self._databases.close()

    async def _start(self) -> None:
        places: dict[str, Any] = {"java_home": os.environ.get("JAVA_HOME"), "java_path": os.environ.get("PATH")}
        database = self._database() if self.shape == SHARED_JDBC else None
        self.pair = BrokerPair(self.shape, self._folder / "pair", database=database, **places)
        try:
            await self._stack.enter_async_context(self.pair)
        except ArtifactError as error:
            skip_or_fail(error)
        self._stack.callback(self._end_worker, self._start_worker())
        self.bridge = Process(
            self.pair, self._folder, QUEUE, "bridge", broker_lines=f'heartbeat = "{self._heartbeat:g}s"\n',
            route='worker_wait = "5s"\n', publish_timeout="5s",  # half a second is little on a saturated machine
        )  # fmt: skip
        self._stack.callback(self.bridge.kill)
        await self.bridge.start()
        await self.first_reply()

    def _database(self) -> Database:
        self.mariadb = self._databases.enter_context(MariaDb())
        # A database that the helper makes for PostgreSQL's sake, and that nobody else uses on this server.
        url = f"jdbc:mariadb://127.0.0.1:{self.mariadb.port}/postgres?sslMode=disable"
        return Database(url, "bridge", self.mariadb.password)

    def _start_worker(self) -> subprocess.Popen[bytes]:
        brokers = [part for url in self.pair.urls for part in ("--broker", url)]
        with (self._folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "mqbridge", "work", "tests.ha.echo:worker", *brokers),
                    *("--login", self.pair.login, "--concurrency", str(SLOTS), "--heartbeat", str(self._heartbeat)),
                ],
                cwd=ROOT,
                env={**os.environ, "MQBRIDGE_BROKER__PASSCODE": self.pair.passcode},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @staticmethod
    def _end_worker(worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait()

    async def first_reply(self) -> None:
        """Return once a call is answered."""
        loop = asyncio.get_running_loop()
        before = loop.time()
        async with Load(self.bridge.port) as load:
            await load_until(load, lambda: load.first_reply_after(before) is not None, "a call is answered")

    async def live(self) -> EmbeddedBroker:
        """The one that answers."""
        live = await self.pair.live()
        assert live is not None, "neither broker answers"
        return live

    async def taken_over_by(self, broker: EmbeddedBroker) -> float:
        """Wait until that one answers; return when, by the loop's clock."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TAKEN_OVER_WITHIN):
            while not await broker.is_live():  # noqa: ASYNC110 - nothing but its port tells
                await asyncio.sleep(0.02)
        return loop.time()


async def load_until(load: Load, condition: Any, what: str, within: float = 3 * PATIENCE) -> None:
    """Let the load go on until a condition holds."""
    try:
        async with asyncio.timeout(within):
            while not condition():
                load.check()
                await asyncio.sleep(0.01)
    except TimeoutError:
        ends = [one.how for one in load.calls[-5:]]
        raise AssertionError(f"{what}: not within {within:g} s; calls end so: {ends}") from None
