"""`mqbridge` commands as child processes that are ready when they say so and drain when we end."""

from __future__ import annotations

import asyncio
import math
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
LOOK_EVERY = 0.1  # seconds between two looks whether a process is still there
LAST_WORDS = 1.0  # seconds for what it said before its end


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
    """Give each line of a process that :func:`spawn` started, without its end; one of over a MiB is left out.

    It is over with the process: what that has started may hold its standard error open for hours.
    """
    assert process.stderr is not None  # noqa: S101 - it was asked for
    loop = asyncio.get_running_loop()
    until = math.inf
    while loop.time() < until:
        if process.returncode is not None:
            until = min(until, loop.time() + LAST_WORDS)
        try:
            async with asyncio.timeout(LOOK_EVERY):
                line = await process.stderr.readline()
        except (TimeoutError, ValueError):
            continue
        if not line:
            return
        yield line.decode(errors="replace").rstrip()
    process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001 - the pipe, which nothing public closes


async def ended(process: asyncio.subprocess.Process) -> int:
    """Wait for a process's end; return its exit code.

    ``Process.wait`` of Python 3.11 also waits for the end of the pipe, which what the process has started may hold.
    """
    while process.returncode is None:  # noqa: ASYNC110 - see above
        await asyncio.sleep(LOOK_EVERY)
    return process.returncode


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
        self._listeners: dict[asyncio.Future[str], str] = {}

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
        return await ended(self._process) if self._process else 0

    async def says(self, text: str) -> str:
        """Wait for its next line that holds ``text`` and return it, without an end in time: the caller sets one."""
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._listeners[heard] = text
        try:
            return await heard
        finally:
            del self._listeners[heard]

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if it does not drain."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(DRAINED_WITHIN):
                await ended(process)
        except TimeoutError:
            process.kill()
            await ended(process)
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
            for heard, wanted in self._listeners.items():
                if wanted in text and not heard.done():
                    heard.set_result(text)
            if self._is_ready.is_set():
                print(f"[{self._name} {process.pid}] {text}", file=sys.stderr, flush=True)
            elif self._ready in text:
                self._is_ready.set()
                self._last_lines.clear()
