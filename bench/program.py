"""`mqbridge` itself as a process: what people start, where a part measures just that."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import TYPE_CHECKING

from bench.child import ROOT, START_TIMEOUT, STOP_GRACE, ChildError

if TYPE_CHECKING:
    from collections.abc import Mapping

_READY = re.compile(r"mqbridge: (?:worker )?ready on http://127\.0\.0\.1:(?P<port>[0-9]+)")


class Program:
    """A running command. ``facts`` holds its ``port``, as a :class:`bench.child.Child`'s does."""

    def __init__(self, process: asyncio.subprocess.Process, reading: asyncio.Task[None], port: int) -> None:
        self.facts = {"port": port}
        self._process = process
        self._reading = reading

    @classmethod
    async def start(cls, *arguments: str, environ: Mapping[str, str]) -> Program:
        """Start `mqbridge` and return once it is ready; raises :class:`bench.child.ChildError`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mqbridge", *arguments, "--log-level", "warning"),
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        said: list[str] = []
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def read() -> None:
            assert process.stderr is not None
            async for line in process.stderr:
                text = line.decode("utf-8", "replace")
                said.append(text)
                found = _READY.search(text)
                if found is not None and not ready.done():
                    ready.set_result(int(found["port"]))
            if not ready.done():
                ready.set_exception(ChildError(f"mqbridge {' '.join(arguments)} ended:\n{''.join(said)[-4_000:]}"))

        program = cls(process, asyncio.create_task(read()), 0)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                program.facts["port"] = await ready
        except BaseException:
            await program.stop()
            raise
        return program

    @property
    def pid(self) -> int:
        """The process that was started; its own processes are below it."""
        return self._process.pid

    async def stop(self) -> None:
        """End it, and kill it if it does not."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_GRACE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading
