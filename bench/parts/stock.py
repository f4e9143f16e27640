"""A broker as most shops have it: without tcpNoDelay on its STOMP connector."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.generator import Generator
    from bench.options import Options


@dataclass(frozen=True, slots=True)
class Stock:
    """Medians at one connection, in ms. ``naive``: a requester that does not ask for quick ACKs, to see the stall."""

    bridge: float
    naive: float


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> Stock:
    """Measure p50 at one connection with receipts."""
    tell("stock: a broker without tcpNoDelay")
    bridge, naive = [], []
    async with Stage(stock=True) as stage:
        await stage.work()
        server, requester = await stage.serve("bridge", "uvicorn"), await stage.requester(quick_ack=False)
        await generator.load(server.facts["port"], "/echo", 1, 64, options.warm_up)
        for _ in range(options.rounds):
            load, _ = await generator.load(server.facts["port"], "/echo", 1, 64, options.seconds)
            bridge.append(load["p50"])
            load = await requester.ask("run", in_flight=1, size=64, seconds=options.seconds, receipts=True)
            naive.append(load["p50"])
    return Stock(median(bridge), median(naive))
