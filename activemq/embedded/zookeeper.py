"""ZooKeeper on loopback: three processes that agree, of which one may be missing; brokers take a lock there."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from activemq.embedded import logs, ports
from activemq.embedded.artifacts import ARTEMIS, ZOOKEEPER
from activemq.embedded.fetch import checked_jars
from activemq.embedded.folder import DataFolder
from activemq.embedded.java import Java, find_java
from activemq.embedded.process import BrokerProcess, start_process
from activemq.errors import BrokerStartError, EmbeddedBrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NODES: Final = 3
_PORTS_OF_ONE: Final = 3  # for clients, for the others, for elections
_START_TIMEOUT: Final = 60.0  # seconds
_LOOK_INTERVAL: Final = 0.05
# Java's own choices are for large machines; a node with three clients needs little.
_OPTIONS: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx96m", "-XX:+ExitOnOutOfMemoryError")
_LOGGING: Final = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
# Ticks are half a second: so a session can last one to ten seconds, and a node that is silent for five is out.
_SETTINGS: Final = """\
tickTime=500
initLimit=40
syncLimit=10
dataDir=data
clientPort={client}
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=srvr
autopurge.purgeInterval=24
{servers}"""


class ZooKeeperNode:
    """One of them. ``start()`` after ``kill()`` brings it back with what it knew."""

    def __init__(self, number: int, folder: Path, port: int, settings: str) -> None:
        self.number = number
        self.port = port
        self._folder = DataFolder(folder)
        self._settings = settings
        self._process: BrokerProcess | None = None

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """Its process id; ``EmbeddedBrokerError`` if it was never started."""
        if self._process is None:
            raise EmbeddedBrokerError("the ZooKeeper node was never started")
        return self._process.pid

    async def start(self, java: Java, jars: Sequence[Path]) -> None:
        """Start its process; :meth:`role` tells when it has found the others. ``BrokerStartError``."""
        lock = await self._folder.lock()
        try:
            self._folder.write_configuration({"zoo.cfg": self._settings, "data/myid": f"{self.number}\n"})
            output = self._folder.new_log()
            command = [str(java.executable), *_OPTIONS, *_LOGGING, *ZOOKEEPER.options, "-cp"]
            command += [os.pathsep.join(map(str, jars)), ZOOKEEPER.main_class, *ZOOKEEPER.arguments]
            try:
                self._process = await start_process(command, folder=self._folder.path, output=output, hold=lock)
            except OSError as error:
                raise BrokerStartError(f"{java.executable} could not be started: {error}") from error
            finally:
                os.close(output)
        finally:
            os.close(lock)

    async def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            await self._process.stop()

    async def kill(self) -> None:
        """``kill -9``; returns once it is gone."""
        if self._process is not None:
            await self._process.kill()

    async def role(self) -> str:
        """``leader`` or ``follower``; empty while it serves nobody."""
        try:
            reader, writer = await asyncio.open_connection(ports.LOOPBACK, self.port)
        except OSError:
            return ""
        try:
            writer.write(b"srvr")
            async with asyncio.timeout(_START_TIMEOUT):
                answer = await reader.read(-1)
        except (OSError, TimeoutError):
            return ""
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        modes = [line.removeprefix("Mode: ") for line in answer.decode().splitlines() if line.startswith("Mode: ")]
        return modes[0] if modes else ""

    async def until_serving(self) -> None:
        """Return once it has a role; ``BrokerStartError`` if it ends, or has none in a minute."""
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                while not await self.role():
                    if not self.running:
                        raise self._failed("ended while starting")
                    await asyncio.sleep(_LOOK_INTERVAL)
        except TimeoutError:
            raise self._failed(f"had no role after {_START_TIMEOUT:g} s") from None

    def _failed(self, how: str) -> BrokerStartError:
        said = logs.telling_lines(logs.read_tail(self._folder.log)) or "nothing"
        return BrokerStartError(f"ZooKeeper node {self.number} {how}. It said:\n  {said}", self._folder.log)


class ZooKeeper:
    """Three nodes, each with a folder ``zookeeper-N`` in ``data``. ``connect`` is what brokers are told.

    Nobody is asked who he is: whoever reaches these ports of loopback can take the brokers' lock away.
    """

    def __init__(
        self,
        data: Path,
        *,
        java_home: Path | str | None = None,
        java_path: str | None = None,
        cache_dir: Path,
        progress: Callable[[str], None],
    ) -> None:
        self._places = java_home, java_path
        self._cache_dir = cache_dir
        self._progress = progress
        chosen = ports.choose_several(_PORTS_OF_ONE * NODES)
        clients, peers, elections = chosen[:NODES], chosen[NODES : 2 * NODES], chosen[2 * NODES :]
        servers = "".join(
            f"server.{number}={ports.LOOPBACK}:{peer}:{election}\n"
            for number, (peer, election) in enumerate(zip(peers, elections, strict=True), 1)
        )
        self.nodes = tuple(
            ZooKeeperNode(number, data / f"zookeeper-{number}", port, _SETTINGS.format(client=port, servers=servers))
            for number, port in enumerate(clients, 1)
        )
        self.connect = ",".join(f"{ports.LOOPBACK}:{port}" for port in clients)

    async def start(self) -> None:
        """Start those that do not run, and return once all serve. Raises as ``EmbeddedBroker.start``."""
        java = await asyncio.to_thread(find_java, *self._places)
        jars = await checked_jars((ZOOKEEPER, ARTEMIS), self._cache_dir, self._progress)
        try:
            for node in self.nodes:
                if not node.running:
                    await node.start(java, jars)
            await asyncio.gather(*(node.until_serving() for node in self.nodes))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all of them."""
        await asyncio.gather(*(node.stop() for node in self.nodes))
