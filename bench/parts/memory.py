"""What a held call weighs, and what is left of thousands when their callers go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from bench.options import SERVERS
from bench.procfs import resident_kib
from bench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.child import Child
    from bench.generator import Generator
    from bench.options import Options

PATIENCE = 60.0  # seconds
SIZE = 64  # bytes of each body


@dataclass(frozen=True, slots=True)
class Memory:
    """One server. Memory in KiB, times in seconds; ``half`` and ``all``: with that many of ``held`` calls held."""

    server: str
    held: int
    base: float
    half: float
    all: float
    after: float
    accepted_in: float
    aborts_seen_in: float
    tasks_before: int
    tasks_after: int

    @property
    def each_of_half(self) -> float:
        return (self.half - self.base) / (self.held // 2)

    @property
    def each_of_all(self) -> float:
        return (self.all - self.base) / self.held


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> list[Memory]:
    """Measure both servers, each with a broker of its own that nobody has used before."""
    found = []
    for server in SERVERS:
        tell(f"memory: {options.held} calls held on {server}")
        async with Stage(quick=True) as stage:
            found.append(await _measure(stage, server, options, generator))
    return found


async def _measure(stage: Stage, server: str, options: Options, generator: Generator) -> Memory:
    await stage.work()
    bridge = await stage.serve("bridge", server)
    crowds = [await stage.crowd(), await stage.crowd()]
    # What is loaded or grown at first use belongs to the base.
    await generator.load(bridge.facts["port"], "/echo", 16, SIZE, 1)
    await asyncio.sleep(options.settle)
    base, before = resident_kib(bridge.pid), await bridge.ask("counts")
    half_in = await _hold(bridge, crowds[0], options.held // 2, options.held // 2)
    await asyncio.sleep(options.settle)
    half = resident_kib(bridge.pid)
    rest_in = await _hold(bridge, crowds[1], options.held // 2, options.held)
    await asyncio.sleep(options.settle)
    full = resident_kib(bridge.pid)
    began = await crowds[0].ask("abort")
    seen = await bridge.ask("held", low=0, high=options.held // 2, within=PATIENCE)
    await crowds[1].ask("abort")
    await bridge.ask("held", low=0, high=0, within=PATIENCE)
    await asyncio.sleep(options.settle)
    after = await bridge.ask("counts")
    return Memory(
        server,
        options.held,
        base,
        half,
        full,
        after=resident_kib(bridge.pid),
        accepted_in=half_in + rest_in,
        aborts_seen_in=seen - began,
        tasks_before=before["tasks"],
        tasks_after=after["tasks"],
    )


async def _hold(bridge: Child, crowd: Child, count: int, total: int) -> float:
    """Have the crowd call; return after how many seconds the bridge holds ``total`` calls."""
    began = monotonic()
    opening = asyncio.create_task(crowd.ask("open", port=bridge.facts["port"], path="/hold", count=count, size=SIZE))
    held: float = await bridge.ask("held", low=total, high=total, within=PATIENCE)
    await opening
    return held - began
