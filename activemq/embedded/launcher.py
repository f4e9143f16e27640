"""``EmbeddedBroker``: a real ActiveMQ as a child process, for as long as we want it."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Self

from activemq.embedded import artifacts, ports, ready
from activemq.embedded.awaiting import Starting
from activemq.embedded.configuration import MIB, BrokerLimits, Configuration, Login, Role
from activemq.embedded.fetch import checked_jars
from activemq.embedded.folder import DataFolder
from activemq.embedded.java import Java, find_java
from activemq.embedded.process import BrokerProcess, start_process
from activemq.embedded.rendering import render
from activemq.errors import BrokerStartError, EmbeddedBrokerError, PortInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from activemq.embedded.standby import Standby

_PORT_ATTEMPTS = 5


def default_cache_dir() -> Path:
    """Where jars are kept if no other folder is given."""
    return Path.home() / ".cache" / "activemq-rest-bridge"


class EmbeddedBroker:
    """A broker on loopback that ends when we do.

    ::

        async with EmbeddedBroker() as broker:
            ...  # broker.stomp_url, broker.login, broker.passcode

    ``start()`` again after ``stop()``, ``kill()`` or a crash brings it back on the same ports with the same data.
    Leaving the context, or ``close()``, also removes a temporary data folder. All methods belong to the event loop in
    which ``start()`` ran.

    :param kind: ``"classic"`` or ``"artemis"``
    :param data_dir: where it keeps messages, configuration and log; ``None``: a temporary folder
    :param stomp_port: 0 for any free one
    :param openwire_port: for JMS clients: OpenWire on Classic, CORE on Artemis; 0 for any free one
    :param login: its main user
    :param passcode: ``None``: a generated one
    :param roles: of the main user; by default it has all that the bridge and the workers need
    :param other_logins: more users, with less or other rights
    :param worker_queues: what workers may use; see ``Configuration``
    :param limits: sizes; see ``BrokerLimits``
    :param java_home: the first place to look for Java
    :param java_path: folders to look in next, in the form of ``PATH``
    :param cache_dir: where the jars are kept; ``None``: ``~/.cache/activemq-rest-bridge``
    :param progress: is given lines for people while jars are fetched
    :param quick: start faster and use less memory, at the price of throughput
    :param tcp_no_delay: ``False``: STOMP as on a broker as it is delivered, whose RECEIPT holds up the next MESSAGE
    :param jvm_options: more options for Java, after ours
    :param standby: what it shares with a second broker of which one stands in for the other; ``start()`` then also
        returns when it waits for its turn. See :class:`activemq.embedded.BrokerPair`, which makes both
    :param start_timeout: seconds; 1 is usual, 9 was seen on a saturated machine
    """

    def __init__(
        self,
        kind: str = "classic",
        *,
        data_dir: Path | None = None,
        stomp_port: int = 0,
        openwire_port: int = 0,
        login: str = "bridge",
        passcode: str | None = None,
        roles: frozenset[Role] = frozenset({Role.BRIDGE, Role.WORKER}),
        other_logins: Sequence[Login] = (),
        worker_queues: Sequence[str] = (">",),
        limits: BrokerLimits | None = None,
        java_home: Path | str | None = None,
        java_path: str | None = None,
        cache_dir: Path | None = None,
        progress: Callable[[str], None] | None = None,
        quick: bool = True,
        tcp_no_delay: bool = True,
        jvm_options: Sequence[str] = (),
        standby: Standby | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self._distribution = artifacts.distribution(kind)
        if standby is not None and standby.kind != kind:
            raise ValueError(f"{type(standby).__name__} is for {standby.kind}, not for {kind}")
        self._folder = None if data_dir is None else DataFolder(data_dir)
        self._fixed = {port for port in (stomp_port, openwire_port) if port}
        self._stomp_port = stomp_port
        self._openwire_port = openwire_port
        self._main = Login(login, passcode or secrets.token_urlsafe(24), roles)
        self._logins = (self._main, *other_logins)
        self._worker_queues = tuple(worker_queues)
        self._limits = limits or BrokerLimits()
        self._java = (java_home, java_path)
        self._cache_dir = (cache_dir or default_cache_dir()).absolute()
        self._progress = progress or (lambda _line: None)
        self._quick = quick
        self._tcp_no_delay = tcp_no_delay
        self._jvm_options = tuple(jvm_options)
        self._standby = standby
        self._start_timeout = start_timeout
        self._process: BrokerProcess | None = None
        self._configuration()  # says what is wrong with the arguments now and not at the start

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self.running and self._process else "not running"
        return f"<EmbeddedBroker {self._distribution.label}, port {self._stomp_port}, {state}>"

    @property
    def kind(self) -> str:
        """``"classic"`` or ``"artemis"``."""
        return self._distribution.kind

    @property
    def stomp_port(self) -> int:
        """The STOMP port; 0 before the first start if none was asked for."""
        return self._stomp_port

    @property
    def openwire_port(self) -> int:
        """The port for JMS clients; 0 before the first start if none was asked for."""
        return self._openwire_port

    @property
    def stomp_url(self) -> str:
        """``stomp://127.0.0.1:PORT``."""
        return f"stomp://{ports.LOOPBACK}:{self._stomp_port}"

    @property
    def openwire_url(self) -> str:
        """``tcp://127.0.0.1:PORT``, as JMS clients want it: ActiveMQ's for Classic, Artemis's own for Artemis."""
        return f"tcp://{ports.LOOPBACK}:{self._openwire_port}"

    @property
    def login(self) -> str:
        """The main user's name."""
        return self._main.name

    @property
    def passcode(self) -> str:
        """The main user's passcode."""
        return self._main.passcode

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """The broker's process id; ``EmbeddedBrokerError`` if it was never started."""
        return self._started().pid

    @property
    def guardian_pid(self) -> int:
        """The process id of its guardian; ``EmbeddedBrokerError`` if it was never started."""
        return self._started().guardian_pid

    @property
    def data_dir(self) -> Path:
        """Where its data lies; ``EmbeddedBrokerError`` if that is not decided yet."""
        if self._folder is None:
            raise EmbeddedBrokerError("the broker was never started")
        return self._folder.path

    @property
    def log_path(self) -> Path:
        """Its log; the one of the run before has ``.1`` appended."""
        if self._folder is None:
            raise EmbeddedBrokerError("the broker was never started")
        return self._folder.log

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start it and return once it answers STOMP; what is there already is used, what is missing is fetched.

        Raises ``PortInUseError``, ``JavaNotFoundError``, ``ArtifactError``, or ``BrokerStartError`` with the
        telling lines of its log.
        """
        if self.running:
            raise EmbeddedBrokerError("the broker is already running")
        self._folder = folder = self._folder or DataFolder(None)
        lock = await folder.lock()  # first: whoever leaves this folder just now also leaves its ports
        try:
            for port in self._fixed:
                _require_free(port)
            java = await asyncio.to_thread(find_java, *self._java)
            jars = await self._jars()
            await self._run_on_some_ports(java, jars, folder, lock)
        finally:
            os.close(lock)  # the guardian keeps its copy for as long as the broker lives
        self._fixed = {self._stomp_port, self._openwire_port}

    async def fetch(self) -> None:
        """Bring the jars that are missing, which ``start()`` does too. Raises ``ArtifactError``."""
        await self._jars()

    async def stop(self) -> None:
        """Stop it clean (SIGTERM, and SIGKILL should it hang); nothing happens if it does not run."""
        if self._process is not None:
            await self._process.stop()

    async def kill(self) -> None:
        """``kill -9``, for tests and failure drills; returns once it is gone."""
        if self._process is not None:
            await self._process.kill()

    async def is_live(self) -> bool:
        """Whether it answers STOMP now; one that stands by does not."""
        try:
            return self.running and await ready.answers(self._stomp_port, self.login, self.passcode)
        except ready.RefusedError:  # somebody else has its port
            return False

    async def wait(self) -> int:
        """Wait until it ends, for whatever reason; returns the exit code, 128 + N if signal N ended it."""
        return await self._started().wait()

    async def close(self) -> None:
        """``stop()``, and remove a temporary data folder."""
        await self.stop()
        if self._folder is not None and self._folder.temporary:
            await asyncio.to_thread(self._folder.remove)
            self._folder = None

    def _started(self) -> BrokerProcess:
        if self._process is None:
            raise EmbeddedBrokerError("the broker was never started")
        return self._process

    def _configuration(self) -> Configuration:
        return Configuration(
            self._stomp_port,
            self._openwire_port,
            self._logins,
            self._worker_queues,
            self._limits,
            tcp_no_delay=self._tcp_no_delay,
            standby=self._standby,
        )

    async def _run_on_some_ports(self, java: Java, jars: Sequence[Path], folder: DataFolder, lock: int) -> None:
        """Run it on the ports asked for; where none was, again on others if somebody was faster."""
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._choose_ports()
            try:
                await self._run(java, jars, folder, lock)
            except PortInUseError as error:
                if error.port in self._fixed or attempt == _PORT_ATTEMPTS:
                    raise
                self._forget_port(error.port)
            else:
                return

    def _choose_ports(self) -> None:
        self._stomp_port = self._stomp_port or ports.choose_free(besides=self._openwire_port)
        self._openwire_port = self._openwire_port or ports.choose_free(besides=self._stomp_port)

    def _forget_port(self, port: int) -> None:
        if self._stomp_port == port:
            self._stomp_port = 0
        if self._openwire_port == port:
            self._openwire_port = 0

    async def _jars(self) -> list[Path]:
        supplement = self._standby.supplement if self._standby else None
        wanted = (self._distribution,) if supplement is None else (self._distribution, supplement)
        return await checked_jars(wanted, self._cache_dir, self._progress)

    async def _run(self, java: Java, jars: Sequence[Path], folder: DataFolder, lock: int) -> None:
        """Make one attempt on the ports that are set."""
        folder.write_configuration(render(self._distribution.kind, self._configuration()))
        output = folder.new_log()
        try:
            self._process = await start_process(
                self._command(java, jars),
                folder=folder.path,
                output=output,
                hold=lock,
                remove=folder.path if folder.temporary else None,
            )
        except OSError as error:
            raise BrokerStartError(f"{java.executable} could not be started: {error}") from error
        finally:
            os.close(output)
        try:
            waits = None if self._standby is None else self._standby.waits
            starting = Starting(
                self._process, folder, self._distribution.label, self._stomp_port, self.login, self.passcode, waits
            )
            await starting.until_up(self._start_timeout)
        except BaseException:  # also when cancelled: nothing of it stays behind
            await self._process.kill()
            raise

    def _command(self, java: Java, jars: Sequence[Path]) -> list[str]:
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] if self._quick else []
        heap = max(256 * MIB, 2 * self._limits.memory)
        return [
            str(java.executable),
            *quick,
            f"-Xmx{heap}",
            "-XX:+ExitOnOutOfMemoryError",  # a broker that lost threads is worse than none
            "-XX:-UsePerfData",  # no files of its own in the system's temporary folder
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
            *self._distribution.options,
            *(self._standby.options if self._standby else ()),
            *self._jvm_options,
            "-cp",
            os.pathsep.join(map(str, jars)),
            self._distribution.main_class,
            *self._distribution.arguments,
        ]


def _require_free(port: int) -> None:
    try:
        free = ports.is_free(port)
    except OSError as error:
        raise BrokerStartError(f"port {port} cannot be used: {error.strerror}") from error
    if not free:
        raise PortInUseError(port)
