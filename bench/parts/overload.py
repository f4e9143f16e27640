"""Twice as many calls as can be answered: those that are taken are answered, the rest are told at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING

from bench.children.serve import HELD_AT_MOST
from bench.options import SERVERS
from bench.procfs import busy_seconds
from bench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.child import Child
    from bench.generator import Generator
    from bench.options import Options

SIZE = 64  # bytes of each body
TIMES = 2.0  # the capacity
CONNECTIONS = 1_000  # of the flood: far more than are held


@dataclass(frozen=True, slots=True)
class Round:
    """One flood. Rates per second, times in ms."""

    peak: float  # before and after it, by as many callers as are held at most
    offered: float
    goodput: float
    refused: float
    refused_p50: float
    refused_p99: float
    refused_max: float
    answered_p99: float
    other: int  # answers that are neither 200 nor 503, and none
    unsent: int  # for want of a connection that was idle
    busy: float  # the share of the machine that was used meanwhile, by all


@dataclass(frozen=True, slots=True)
class Overload:
    """One server, all rounds."""

    server: str
    rounds: list[Round]

    def middle(self, figure: str) -> float:
        """Return the median of all rounds."""
        return float(median(getattr(each, figure) for each in self.rounds))

    @property
    def of_peak(self) -> float:
        """The goodput as a share of the peak."""
        return median(each.goodput / each.peak for each in self.rounds)


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> list[Overload]:
    """Measure both servers, each with a broker of its own."""
    found = []
    for server in SERVERS:
        async with Stage() as stage:
            await stage.work()
            bridge = await stage.serve("bridge", server, routes="overload")
            flood = await stage.flood()
            tell(f"overload: warming up {server}")
            await _peak(bridge, generator, options.warm_up)
            rounds = []
            for number in range(1, options.rounds + 1):
                tell(f"overload: {server}, round {number} of {options.rounds}")
                rounds.append(await _round(bridge, flood, generator, options.seconds))
            found.append(Overload(server, rounds))
    return found


async def _peak(bridge: Child, generator: Generator, seconds: int) -> float:
    result, _ = await generator.load(bridge.facts["port"], "/echo", HELD_AT_MOST, SIZE, seconds)
    return result["requests"] / result["seconds"]


async def _round(bridge: Child, flood: Child, generator: Generator, seconds: int) -> Round:
    before = await _peak(bridge, generator, seconds)
    port, rate = bridge.facts["port"], TIMES * before
    began, busy = monotonic(), busy_seconds()
    result = await flood.ask(
        "flood", port=port, path="/echo", connections=CONNECTIONS, size=SIZE, rate=rate, seconds=seconds
    )
    used = (busy_seconds() - busy) / (monotonic() - began) / (os.cpu_count() or 1)
    after = await _peak(bridge, generator, seconds)
    counts, latencies = result["counts"], result["latencies"]
    none = {"p50": 0.0, "p99": 0.0, "max": 0.0}
    refused, answered = latencies.get("503", none), latencies.get("200", none)
    return Round(
        peak=(before + after) / 2,  # a machine that others use is not the same twice
        offered=rate,
        goodput=counts.get("200", 0) / seconds,
        refused=counts.get("503", 0) / seconds,
        refused_p50=refused["p50"],
        refused_p99=refused["p99"],
        refused_max=refused["max"],
        answered_p99=answered["p99"],
        other=sum(count for status, count in counts.items() if status not in ("200", "503")) + result["unanswered"],
        unsent=result["unsent"],
        busy=used,
    )
