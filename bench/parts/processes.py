"""One process, two on the same port, and no bridge at all: the commands as they are started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.parts.calls import Calls, Measuring
from bench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.generator import Generator
    from bench.options import Options

CONNECTIONS = (64, 256)
SIZE = 64  # bytes


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> Calls:
    """Measure all in turns, at the same broker and worker; the load generator shares the machine."""
    async with Stage() as stage:
        measuring = Measuring(stage, await stage.work(), generator)
        for number in (1, 2):
            measuring.add_server(f"{number} process{'es' if number > 1 else ''}", await stage.bridge(number))
        measuring.add_server("no bridge", await stage.direct(), "/bench.echo")
        tell("processes: warming up")
        for subject in measuring.subjects:
            await measuring.sample(subject, 64, SIZE, options.warm_up)
        calls = Calls()
        for number in range(1, options.rounds + 1):
            tell(f"processes: round {number} of {options.rounds}")
            for connections in CONNECTIONS:
                for subject in measuring.subjects:
                    calls.samples.append(await measuring.sample(subject, connections, SIZE, options.seconds))
        return calls
