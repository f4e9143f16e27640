"""Calls with an Idempotency-Key on SQLite, beside what a persistent message with a receipt costs without a bridge."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.generator import Generator
    from bench.latency import Load
    from bench.options import Options

IN_FLIGHT = 64
SIZE = 64  # bytes


@dataclass(frozen=True, slots=True)
class Keyed:
    """Medians: calls a second, latencies in ms. ``bare``: request and reply over STOMP, persistent, with receipts."""

    bare: float
    bare_p50: float
    keyed: float
    keyed_p50: float
    keyed_p99: float
    failed: int


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> Keyed:
    """Measure both in turns at the same broker and worker."""
    bare: list[Load] = []
    keyed: list[Load] = []
    async with Stage() as stage:
        await stage.work()
        server, requester = await stage.serve("bridge", "uvicorn"), await stage.requester()

        async def run_bare(seconds: int) -> Load:
            load: Load = await requester.ask(
                "run", in_flight=IN_FLIGHT, size=SIZE, seconds=seconds, receipts=True, persistent=True
            )
            return load

        async def run_keyed(seconds: int) -> Load:
            return (await generator.load(server.facts["port"], "/echo", IN_FLIGHT, SIZE, seconds, keyed=True))[0]

        tell("keyed: warming up")
        await run_bare(options.warm_up)
        await run_keyed(options.warm_up)
        for number in range(1, options.rounds + 1):
            tell(f"keyed: round {number} of {options.rounds}")
            bare.append(await run_bare(options.seconds))
            keyed.append(await run_keyed(options.seconds))
    return Keyed(
        bare=median(load["requests"] / load["seconds"] for load in bare),
        bare_p50=median(load["p50"] for load in bare),
        keyed=median(load["requests"] / load["seconds"] for load in keyed),
        keyed_p50=median(load["p50"] for load in keyed),
        keyed_p99=median(load["p99"] for load in keyed),
        failed=sum(load["failed"] for load in (*bare, *keyed)),
    )
