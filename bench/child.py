"""The parent's side of the line protocol; see :mod:`bench.children.channel`."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
STOP_GRACE = 5.0  # seconds
START_TIMEOUT = 60.0  # seconds
LINE_LIMIT = 1024 * 1024  # bytes


class ChildError(Exception):
    """A child failed; the text says which and what it said last."""


class Child:
    """A process of ``bench.children``. Made by :meth:`start`; ``facts`` is what it said when it was ready."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: IO[bytes]) -> None:
        self.name = name
        self.facts: dict[str, Any] = {}
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, name: str, **configuration: object) -> Child:
        """Start ``bench.children.NAME`` and return once it is ready; raises :class:`ChildError`."""
        return await cls.start_module(name, f"bench.children.{name}", configuration)

    @classmethod
    async def start_module(cls, name: str, module: str, configuration: Mapping[str, object]) -> Child:
        """Start any module that speaks as those of ``bench.children`` do."""
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C is ours to act upon
            limit=LINE_LIMIT,
        )
        child = cls(name, process, log)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                child.facts = (await child._exchange(dict(configuration)))["ready"]
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ask(self, do: str, **arguments: object) -> Any:  # noqa: ANN401 - whatever the command returns
        """Have a command done and return its result; raises :class:`ChildError` if it failed."""
        answer = await self._exchange({"do": do, **arguments})
        if "error" in answer:
            raise ChildError(f"{self.name}: {answer['error']}")
        return answer["result"]

    async def stop(self) -> None:
        """End it: it goes when its input ends, or else is killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_GRACE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._log.close()

    async def _exchange(self, message: dict[str, object]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(message).encode() + b"\n")
        line = await stdout.readline()
        if not line:
            self._log.seek(0)
            raise ChildError(f"{self.name} ended:\n{self._log.read().decode('utf-8', 'replace')[-4_000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer
