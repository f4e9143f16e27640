"""Calls a second, latencies and CPU: the limit, the null and the bridge, in turns."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from statistics import median
from time import monotonic, process_time
from typing import TYPE_CHECKING

from bench.options import SERVERS
from bench.procfs import busy_seconds, cpu_seconds
from bench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.child import Child
    from bench.generator import Generator
    from bench.latency import Load
    from bench.options import Options
    from bench.program import Program

LIMIT = "limit"
RECEIPTS = "limit with receipts"
BESIDE = ", beside the limit"  # the null while the caches belong to others too, as they do to the bridge
AT = (64, 64)  # connections and bytes that rates and CPU are judged at


@dataclass(frozen=True, slots=True)
class Sample:
    """One load.

    ``cpu``: µs for each call in the subject itself, worker, broker and load generator; ``others``: the share of the
    machine that went to anybody else meanwhile.
    """

    subject: str
    connections: int
    size: int
    rate: float
    p50: float
    p99: float
    failed: int
    cpu: dict[str, float]
    others: float


@dataclass(slots=True)
class Calls:
    """All samples."""

    samples: list[Sample] = field(default_factory=list)

    def rows(self) -> list[Sample]:
        """Return the median of each subject at each point, in the order of the first round."""
        points = dict.fromkeys((s.subject, s.connections, s.size) for s in self.samples)
        return [self.row(*point) for point in points]

    def row(self, subject: str, connections: int, size: int) -> Sample:
        """Return the medians at one point. Each is taken on its own; failures are summed."""
        found = [s for s in self.samples if (s.subject, s.connections, s.size) == (subject, connections, size)]
        return Sample(
            subject,
            connections,
            size,
            rate=median(s.rate for s in found),
            p50=median(s.p50 for s in found),
            p99=median(s.p99 for s in found),
            failed=sum(s.failed for s in found),
            cpu={name: median(s.cpu[name] for s in found) for name in found[0].cpu},
            others=median(s.others for s in found),
        )

    def others(self) -> float:
        """Return the share of the machine that others had, in the middle."""
        return median(s.others for s in self.samples)


Measured = tuple["Load", float]


class Measuring:
    """The processes of a part, and what to do with each."""

    def __init__(self, stage: Stage, worker: Child, generator: Generator) -> None:
        self._stage = stage
        self._worker = worker
        self._generator = generator
        self._subjects: dict[str, tuple[Child | Program, Callable[[int, int, int], Awaitable[Measured]]]] = {}

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(self._subjects)

    def add_requester(self, name: str, child: Child, *, receipts: bool) -> None:
        async def load(connections: int, size: int, seconds: int) -> Measured:
            arguments = {"in_flight": connections, "size": size, "seconds": seconds, "receipts": receipts}
            return await child.ask("run", **arguments), 0.0

        self._subjects[name] = (child, load)

    def add_beside(self, name: str, child: Child, requester: Child) -> None:
        """Add a server that is measured while the broker and the workers are busy with something else."""

        async def load(connections: int, size: int, seconds: int) -> Measured:
            other = requester.ask("run", in_flight=connections, size=size, seconds=seconds)
            server = self._generator.load(child.facts["port"], "/echo", connections, size, seconds)
            measured, _ = await asyncio.gather(server, other)
            return measured

        self._subjects[name] = (child, load)

    def add_server(self, name: str, child: Child | Program, path: str = "/echo") -> None:
        async def load(connections: int, size: int, seconds: int) -> Measured:
            return await self._generator.load(child.facts["port"], path, connections, size, seconds)

        self._subjects[name] = (child, load)

    async def sample(self, subject: str, connections: int, size: int, seconds: int) -> Sample:
        child, load = self._subjects[subject]
        pids = {"subject": child.pid, "worker": self._worker.pid, "broker": self._stage.broker.pid}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        began, busy, bench = monotonic(), busy_seconds(), process_time()
        result, own = await load(connections, size, seconds)
        used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()} | {"load": own}
        others = busy_seconds() - busy - sum(used.values()) - (process_time() - bench)
        room = (monotonic() - began) * (os.cpu_count() or 1)
        return Sample(
            subject,
            connections,
            size,
            rate=result["requests"] / result["seconds"],
            p50=result["p50"],
            p99=result["p99"],
            failed=result["failed"],
            cpu={name: spent / max(result["requests"], 1) * 1e6 for name, spent in used.items()},
            others=max(others, 0.0) / room,
        )


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> Calls:
    """Measure every subject at every point, round by round."""
    async with Stage() as stage:
        measuring = Measuring(stage, await stage.work(), generator)
        requester = await stage.requester()
        measuring.add_requester(LIMIT, requester, receipts=False)
        measuring.add_requester(RECEIPTS, requester, receipts=True)
        for server in SERVERS:
            null = await stage.serve("null", server)
            measuring.add_server(f"null on {server}", null)
            measuring.add_beside(f"null on {server}{BESIDE}", null, requester)
            measuring.add_server(f"bridge on {server}", await stage.serve("bridge", server))
        tell("calls: warming up")
        for subject in measuring.subjects:
            await measuring.sample(subject, 64, 64, options.warm_up)
        calls = Calls()
        for number in range(1, options.rounds + 1):
            for size in options.sizes:
                for connections in options.connections:
                    tell(f"calls: round {number} of {options.rounds}, {size} B, {connections} connections")
                    for subject in measuring.subjects:
                        if subject.endswith(BESIDE) and (connections, size) != AT:
                            continue
                        sample = await measuring.sample(subject, connections, size, options.seconds)
                        calls.samples.append(sample)
        return calls
