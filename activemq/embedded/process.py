"""Our side of the guardian: start the broker under it, stop it, kill it, wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STOP_GRACE = 10.0  # seconds from SIGTERM to SIGKILL; a clean stop takes 0.1
_GROUP_PATIENCE = 2.0
_GUARDIAN = Path(__file__).with_name("guardian.py")


@dataclass(slots=True)
class BrokerProcess:
    """A running broker; ``pid`` is the broker's own, not the guardian's."""

    pid: int
    _guardian: asyncio.subprocess.Process

    @property
    def running(self) -> bool:
        """Whether its end has not been seen yet."""
        return self._guardian.returncode is None

    @property
    def guardian_pid(self) -> int:
        """The process id of the guardian."""
        return self._guardian.pid

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, 128 + N if signal N ended it."""
        code = await self._guardian.wait()
        if code < 0:  # the guardian itself was killed
            await self._end_group()
            return 128 - code
        return code

    async def stop(self) -> int:
        """SIGTERM, SIGKILL after ``STOP_GRACE`` seconds; returns the exit code."""
        self.ask_to_stop()
        return await self.wait()

    async def kill(self) -> int:
        """SIGKILL; returns once it is gone."""
        self._say(b"K")
        return await self.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM, and SIGKILL later, without waiting; the guardian does it, whatever becomes of us."""
        self._say(b"T")

    async def _end_group(self) -> None:
        """Kill what the guardian left: where the kernel does not see to the broker, we do."""
        give_up = time.monotonic() + _GROUP_PATIENCE
        with _watch(self.pid) as ended, contextlib.suppress(ProcessLookupError, PermissionError):
            while not ended() and time.monotonic() < give_up:
                os.killpg(self._guardian.pid, signal.SIGKILL)
                await asyncio.sleep(0.01)

    def _say(self, word: bytes) -> None:
        pipe = self._guardian.stdin
        if self.running and pipe is not None and not pipe.is_closing():
            pipe.write(word)


@contextlib.contextmanager
def _watch(pid: int) -> Iterator[Callable[[], bool]]:
    """Yield what tells whether that process has ended, zombies included; always ``False`` where nothing can tell."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield lambda: False
        return
    try:
        yield lambda: bool(select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)


async def start_process(
    command: Sequence[str],
    *,
    folder: Path,
    output: int,
    hold: int,
    remove: Path | None = None,
) -> BrokerProcess:
    """Start ``command`` under a guardian.

    ``folder`` becomes its working directory, ``output`` (a descriptor) takes all it prints, ``hold`` is a descriptor
    that stays open for as long as it lives (the lock on its data), ``remove`` a folder to be removed should we die
    without stopping it. ``OSError`` if it cannot be started.
    """
    options = ["--parent", str(os.getpid()), "--grace", str(STOP_GRACE)]
    if remove is not None:
        options += ["--remove", str(remove)]
    guardian = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",  # nothing from the environment or the working directory
        "-S",  # nor from site-packages: it starts in 30 ms
        str(_GUARDIAN),
        *options,
        "--",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=output,
        cwd=folder,
        pass_fds=(hold,),
        start_new_session=True,
    )
    assert guardian.stdout is not None  # noqa: S101 - for the type checker: it was asked for
    assert guardian.stdin is not None  # noqa: S101
    try:
        line = await guardian.stdout.readline()
    except BaseException:  # cancelled: the broker is being started, and nobody would know of it
        guardian.stdin.write(b"K")
        await guardian.wait()
        raise
    if not line.strip().isdigit():
        code = await guardian.wait()
        raise OSError(f"{command[0]} could not be started (exit code {code})")
    return BrokerProcess(int(line), guardian)
