"""From nothing to the first call that could be answered, everything downloaded before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from bench import http
from bench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.generator import Generator
    from bench.options import Options


@dataclass(frozen=True, slots=True)
class Start:
    """Each list has one value a round, in seconds: to the broker's CONNECTED, and to bridge and worker ready."""

    broker: list[float]
    ready: list[float]


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> Start:  # noqa: ARG001
    """Start broker, then bridge and worker at once, with a new data folder each time."""
    start = Start([], [])
    for number in range(1, options.rounds + 1):
        tell(f"start: round {number} of {options.rounds}")
        began = monotonic()
        async with Stage(quick=True) as stage:
            start.broker.append(monotonic() - began)
            async with asyncio.TaskGroup() as both:
                bridge = both.create_task(stage.serve("bridge", "uvicorn"))
                both.create_task(stage.work())
            start.ready.append(monotonic() - began)
            assert await http.post(bridge.result().facts["port"], "/echo") == 200
    return start
