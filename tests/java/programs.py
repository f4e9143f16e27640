"""Java programs as processes of their own."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping
    from pathlib import Path

# Java programs speak OpenWire or CORE, so these tests are of the two ActiveMQs.
on_both = pytest.mark.parametrize("broker_kind", ["classic", "artemis"], scope="session", indirect=True)
READY_WITHIN = 60.0  # seconds, on a saturated machine


@dataclass(frozen=True)
class Java:
    """What was built; ``examples`` is the copy of the examples' folder."""

    examples: Path

    @property
    def probe(self) -> Path:
        """Where the probe's classes are."""
        return self.examples.parent / "probe"

    @property
    def class_path(self) -> str:
        """The plain example and all that it needs: both JMS clients."""
        target = self.examples / "plain-jms" / "target"
        return f"{target / 'plain-jms.jar'}{os.pathsep}{target / 'lib'}/*"

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of an example, as its docs have it, or of the probe."""
        quick = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
        if name == "probe":
            return [*quick, "-cp", f"{self.probe}{os.pathsep}{self.class_path}", "example.Probe", *arguments]
        return [*quick, "-jar", str(self.examples / name / "target" / f"{name}.jar"), *arguments]


def environment_of(broker: Any) -> dict[str, str]:
    """What tells a Java program where a broker is."""
    return {
        "BROKER_KIND": broker.kind,
        "BROKER_URL": broker.openwire_url,
        "BROKER_LOGIN": broker.login,
        "BROKER_PASSCODE": broker.passcode,
    }


class Program:
    """A running Java program; both its streams are kept together."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: list[str], environ: Mapping[str, str]) -> Self:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT, env={**os.environ, **environ}
        )
        return cls(process)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    async def wait_for(self, text: str) -> str:
        """Return the first line that holds ``text``; fails if the program ends without it."""
        async with asyncio.timeout(READY_WITHIN), self._changed:
            while not (found := [line for line in self.lines if text in line]):
                assert not self._reading.done(), f"ended without {text!r}:\n{self.output}"
                await self._changed.wait()
        return found[0]

    async def end(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        async with asyncio.timeout(READY_WITHIN):
            await self._reading
            return await self.process.wait()

    async def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        await self.end()

    async def close(self) -> None:
        """End it in order if it still runs."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await self.end()
            except TimeoutError:
                await self.kill()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()
