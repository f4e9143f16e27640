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
    """One server. Memory in KiB, times in seconds.

    ``half`` and ``all``: with that many of ``held`` calls held; ``again``: with all of them held for the second time,
    which tells what is kept for use from what is lost.
    """

    server: str
    jobs: bool  # whether its routes allow jobs, as by default: then a store is loaded
    held: int
    base: float
    half: float
    all: float
    after: float
    again: float
    accepted_in: float
    aborts_seen_in: float
    tasks_before: int
    tasks_after: int

    @property
    def name(self) -> str:
        """Return what it is called in tables."""
        return f"{self.server}, jobs allowed" if self.jobs else self.server

    @property
    def each_of_all(self) -> float:
        return (self.all - self.base) / self.held


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> list[Memory]:
    """Measure both servers, each with a broker of its own that nobody has used before."""
    found = []
    for server, jobs in (*((server, False) for server in SERVERS), (SERVERS[0], True)):
        tell(f"memory: {options.held} calls held on {server}{', jobs allowed' if jobs else ''}")
        async with Stage(quick=True) as stage:
            found.append(await _measure(stage, server, jobs, options, generator))
    return found


async def _measure(stage: Stage, server: str, jobs: bool, options: Options, generator: Generator) -> Memory:
    await stage.work()
    bridge = await stage.serve("bridge", server, routes="usual" if jobs else "held")
    crowds = [await stage.crowd(), await stage.crowd()]
    half, held = options.held // 2, options.held
    # What is loaded or grown at first use belongs to the base.
    await generator.load(bridge.facts["port"], "/echo", 16, SIZE, 1)
    base, before = await _settled(bridge, options), await bridge.ask("counts")
    first = await _hold(bridge, crowds[0], half, half)
    at_half = await _settled(bridge, options)
    second = await _hold(bridge, crowds[1], half, held)
    at_all = await _settled(bridge, options)
    seen = await _abort(bridge, crowds[0], half)
    await _abort(bridge, crowds[1], 0)
    after, counts = await _settled(bridge, options), await bridge.ask("counts")
    for number, crowd in enumerate(crowds, 1):
        await _hold(bridge, crowd, half, number * half)
    again = await _settled(bridge, options)
    return Memory(
        server,
        jobs,
        held,
        base,
        at_half,
        at_all,
        after,
        again,
        accepted_in=first + second,
        aborts_seen_in=seen,
        tasks_before=before["tasks"],
        tasks_after=counts["tasks"],
    )


async def _settled(bridge: Child, options: Options) -> float:
    await asyncio.sleep(options.settle)
    return resident_kib(bridge.pid)


async def _hold(bridge: Child, crowd: Child, count: int, total: int) -> float:
    """Have the crowd call; return after how many seconds the bridge holds ``total`` calls."""
    began = monotonic()
    opening = asyncio.create_task(crowd.ask("open", port=bridge.facts["port"], path="/hold", count=count, size=SIZE))
    held: float = await bridge.ask("held", low=total, high=total, within=PATIENCE)
    await opening
    return held - began


async def _abort(bridge: Child, crowd: Child, left: int) -> float:
    """Have all of the crowd go at once; return after how many seconds the bridge has seen it."""
    began: float = await crowd.ask("abort")
    seen: float = await bridge.ask("held", low=0, high=left, within=PATIENCE)
    return seen - began
