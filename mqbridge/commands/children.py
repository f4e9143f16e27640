"""`mqbridge` commands as child processes that are ready when they say so and drain when we end."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING, Self

from mqbridge.console import CommandError
from mqbridge.lifetime import drained_with_parent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

READY_WITHIN = 30.0  # seconds
LONGEST_LINE = 1024 * 1024  # bytes
DRAINED_WITHIN = 45.0  # seconds; then it is killed


async def spawn(
    arguments: Sequence[str], environ: Mapping[str, str], descriptors: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Start `mqbridge` with these arguments; its standard error is ours to read, ``descriptors`` stay open in it."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mqbridge", *arguments),
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
        pass_fds=descriptors,
        start_new_session=True,  # Ctrl-C is for us: we stop the children in order
        preexec_fn=drained_with_parent(),
    )


async def lines_of(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    """Give each line of a process that :func:`spawn` started, without its end; one of over a MiB is left out."""
    assert process.stderr is not None  # noqa: S101 - it was asked for
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:
            continue
        if not line:
            return
        yield line.decode(errors="replace").rstrip()


class Child:
    """One child. Entering waits for the line that holds ``ready``; leaving drains it."""

    def __init__(self, name: str, arguments: Sequence[str], ready: str, environ: Mapping[str, str]) -> None:
        self._name = name
        self._arguments = arguments
        self._ready = ready
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self._is_ready = asyncio.Event()
        self._last_lines: deque[str] = deque(maxlen=5)

    @property
    def pid(self) -> int:
        """Its process id; 0 before it runs."""
        return self._process.pid if self._process else 0

    async def __aenter__(self) -> Self:
        self._process = await spawn(self._arguments, self._environ)
        self._output = asyncio.create_task(self._pass_on(self._process))
        try:
            await self._until_ready(self._output)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def wait(self) -> int:
        """Wait for its end; return its exit code."""
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if it does not drain."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(DRAINED_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._output is not None:
            await self._output

    async def _until_ready(self, output: asyncio.Task[None]) -> None:
        ready = asyncio.create_task(self._is_ready.wait())
        try:
            await asyncio.wait([ready, output], timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._is_ready.is_set():
            said = "\n".join(self._last_lines) or "(it said nothing)"
            raise CommandError(f"the {self._name} did not start:\n{said}")

    async def _pass_on(self, process: asyncio.subprocess.Process) -> None:
        async for text in lines_of(process):
            self._last_lines.append(text)
            if self._is_ready.is_set():
                print(f"[{self._name} {process.pid}] {text}", file=sys.stderr, flush=True)
            elif self._ready in text:
                self._is_ready.set()
                self._last_lines.clear()
