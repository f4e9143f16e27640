"""Puts load on an HTTP server: wrk where it is installed, else a child of our own."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.child import Child
from bench.procfs import cpu_seconds

if TYPE_CHECKING:
    from bench.latency import Load

_SCRIPT = Path(__file__).with_name("post.lua")


class Generator(Protocol):
    """``load`` returns what came back and the CPU seconds that the generator itself took.

    ``keyed``: each request has an Idempotency-Key of its own.
    """

    name: str

    async def load(
        self, port: int, path: str, connections: int, size: int, seconds: int, *, keyed: bool = False
    ) -> tuple[Load, float]: ...

    async def stop(self) -> None: ...


class Wrk:
    """One thread of wrk: it has one core's worth of work at most, and the bridge no more either."""

    name = "wrk"

    def __init__(self, program: str) -> None:
        self._program = program

    async def load(
        self, port: int, path: str, connections: int, size: int, seconds: int, *, keyed: bool = False
    ) -> tuple[Load, float]:
        before = _children_cpu()
        command = [self._program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        process = await asyncio.create_subprocess_exec(
            *command,
            *("-s", str(_SCRIPT), f"http://127.0.0.1:{port}{path}", "--", str(size), *(["keyed"] if keyed else [])),
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        load: Load = json.loads(output.splitlines()[-1])
        return load, _children_cpu() - before

    async def stop(self) -> None:
        """Nothing is left of it."""


class Own:
    """``bench.children.load``."""

    name = "bench/children/load.py (wrk is not installed)"

    def __init__(self, child: Child) -> None:
        self._child = child

    async def load(
        self, port: int, path: str, connections: int, size: int, seconds: int, *, keyed: bool = False
    ) -> tuple[Load, float]:
        before = cpu_seconds(self._child.pid)
        load: Load = await self._child.ask(
            "load", port=port, path=path, connections=connections, size=size, seconds=seconds, keyed=keyed
        )
        return load, cpu_seconds(self._child.pid) - before

    async def stop(self) -> None:
        await self._child.stop()


async def choose(own: bool) -> Generator:
    """Return the generator to use: ours if ``own`` says so or there is no other."""
    program = None if own else shutil.which("wrk")
    return Wrk(program) if program else Own(await Child.start("load"))


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
