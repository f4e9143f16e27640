"""`--processes N`: several processes of one kind, and the one above them.

The parent starts the processes, passes on their logs and signals, and starts again what dies. Those of
`mqbridge serve` share addresses: the parent holds the sockets and takes no connection itself, and each process has
sockets of its own (docs/decisions/0022-many-bridges.md).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq import Backoff
from consumers.watchdog import HUNG
from mqbridge.commands.children import ended, lines_of
from mqbridge.console import announce

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    Sockets = tuple[socket.socket, ...]
    Spawn = Callable[[int, Sockets], Awaitable[asyncio.subprocess.Process]]

log = logging.getLogger(__name__)

READY: Final = "mqbridge: ready on "  # what a bridge says
STABLE_AFTER: Final = 10.0  # seconds; one that dies sooner counts as a failed start
AGAIN: Final = Backoff(first=0.5, cap=30.0)
SPARE: Final = 15.0  # seconds beyond the time to drain, after which a process is killed


@dataclass(frozen=True, slots=True)
class Kind:
    """What the processes are: their name in the log, how the line begins that says that one is ready.

    ``drain``: seconds that one may take to end once it is told to; None: as long as it likes.
    """

    name: str
    ready: str
    drain: float | None


class Seat:
    """One process's place: its number from 1, its sockets, and the process that sits there now."""

    def __init__(self, number: int, sockets: Sockets, kind: Kind) -> None:
        self.number = number
        self._kind = kind
        self.ready = False
        self._reload = False  # asked for while it could not hear it
        self._stopped = False
        self._sockets = sockets
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, spawn: Spawn, on_ready: Callable[[str], None]) -> int:
        """Start a process and pass on what it says until its end; return its exit code. Killed if we are cancelled.

        ``on_ready`` gets what follows :attr:`Kind.ready`.
        """
        process = self._process = await spawn(self.number, self._sockets)
        if self._stopped:
            process.terminate()
        was_ready = False
        try:
            async for text in lines_of(process):
                if text.startswith(self._kind.ready):
                    was_ready = True
                    self._is_ready()
                    on_ready(text.removeprefix(self._kind.ready))
                elif text.startswith("{"):  # a log for machines
                    print(text, file=sys.stderr, flush=True)
                else:
                    print(f"[{self._kind.name} {self.number} {process.pid}] {text}", file=sys.stderr, flush=True)
            code = await ended(process)
            # Told to stop before it knew the signal: it held nothing.
            return 0 if code == -signal.SIGTERM and self._stopped and not was_ready else code
        finally:
            self.ready = False
            if process.returncode is None:
                process.kill()
                await ended(process)
            self._leave_to_others()

    def stop(self) -> None:
        """Have the process drain; a second time, have it end at once."""
        self._stopped = True
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def ask_to_reload(self) -> None:
        """Pass SIGHUP on, once that does not kill: before it is ready the process may not know it yet."""
        if self.ready:
            self._signal(signal.SIGHUP)
        else:
            self._reload = True

    def _is_ready(self) -> None:
        self.ready = True
        if self._reload:
            self._reload = False
            self._signal(signal.SIGHUP)

    def _leave_to_others(self) -> None:
        """Have the kernel give new connections to the other processes, until the next one here listens again."""
        for sock in self._sockets:
            with suppress(OSError):  # it never listened
                sock.shutdown(socket.SHUT_RD)


class Supervisor:
    """Keeps a process in each seat."""

    def __init__(self, places: Sequence[Sockets], spawn: Spawn, kind: Kind, backoff: Backoff = AGAIN) -> None:
        self._seats = [Seat(number, sockets, kind) for number, sockets in enumerate(places, 1)]
        self._spawn = spawn
        self._kind = kind
        self._backoff = backoff
        self._announced = False
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code: 0 if every process drained clean."""
        with self._signals():
            keeping = [asyncio.create_task(self._keep(seat), name=f"process {seat.number}") for seat in self._seats]
            stopping = asyncio.create_task(self._stop.wait(), name="stop")
            try:
                await asyncio.wait([stopping, *keeping], return_when=asyncio.FIRST_COMPLETED)
                self._stop.set()  # one that must not run ends all
                for seat in self._seats:
                    seat.stop()
                within = None if self._kind.drain is None else self._kind.drain + SPARE
                _, late = await asyncio.wait(keeping, timeout=within)
                if late:
                    log.error("%d processes did not end within %g s and are killed", len(late), within)
            finally:
                for task in (stopping, *keeping):
                    task.cancel()
                await asyncio.wait(keeping)
        codes = [1 if task.cancelled() else task.result() for task in keeping]
        return max((code for code in codes if code > 0), default=int(any(codes)))

    async def _keep(self, seat: Seat) -> int:
        """Start a process in this seat again and again, until we stop; return the last one's exit code."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                code = await seat.run(self._spawn, self._on_ready)
            except OSError as error:  # no memory for another process, or too many of them
                log.error("%s %d cannot be started: %s", self._kind.name, seat.number, error.strerror)  # noqa: TRY400 - it says all
                code = -1
            if self._stop.is_set() or self._must_not_run(code):
                return code
            failures = 0 if loop.time() - began > STABLE_AFTER else failures + 1
            delay = self._backoff.delay(failures) if failures else 0.0
            name = self._kind.name
            log.error("%s %d has ended (code %d); another is started in %.1f s", name, seat.number, code, delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stop.wait()
                return 0

    def _must_not_run(self, code: int) -> bool:
        """Say whether a process refused to start, as all others would; one that was killed, or hung, did not."""
        return code > 0 and code != HUNG and not self._announced

    def _on_ready(self, what: str) -> None:
        if not self._announced and all(seat.ready for seat in self._seats):
            self._announced = True
            announce(f"{self._kind.ready.removeprefix('mqbridge: ')}{what}")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def asked() -> None:
            if self._stop.is_set():  # somebody who does not want to wait
                for seat in self._seats:
                    seat.stop()
            self._stop.set()

        def reload() -> None:
            for seat in self._seats:
                seat.ask_to_reload()

        handlers = {signal.SIGTERM: asked, signal.SIGINT: asked, signal.SIGHUP: reload}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)
