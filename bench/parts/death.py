"""The broker is killed while calls are held, and comes back."""

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

PATIENCE = 30.0  # seconds
PAUSE = 0.01  # seconds between two attempts


@dataclass(frozen=True, slots=True)
class Death:
    """Each list has one value a round, in seconds: kill to the last caller's answer, CONNECTED to the first 200."""

    held: int
    told_in: list[float]
    well_in: list[float]
    answers: dict[str, int]


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> Death:  # noqa: ARG001
    """Kill the same broker in each round."""
    death = Death(options.killed_while_held, [], [], {})
    async with Stage(quick=True) as stage:
        await stage.work()
        bridge = await stage.serve("bridge", "uvicorn")
        port = bridge.facts["port"]
        for number in range(1, options.rounds + 1):
            tell(f"death: round {number} of {options.rounds}, {death.held} calls held")
            crowd = await stage.crowd()
            await crowd.ask("open", port=port, path="/hold", count=death.held, size=64)
            await bridge.ask("held", low=death.held, high=death.held, within=PATIENCE)
            await asyncio.sleep(options.settle)  # receipts are in, callers are watched
            killed = monotonic()
            await stage.broker.kill()
            told = await crowd.ask("answers", within=PATIENCE)
            death.told_in.append(told["last"] - killed)
            for answer, count in told["answers"].items():
                death.answers[answer] = death.answers.get(answer, 0) + count
            await asyncio.sleep(options.settle)  # a broker that is away for a moment only would flatter the back-off
            death.well_in.append(await _well_again(stage, port))
    return death


async def _well_again(stage: Stage, port: int) -> float:
    """Start the broker again; return the seconds from its first CONNECTED to the first answered call."""
    answered = asyncio.create_task(_first_answer(port))
    await stage.start_broker()
    connected = monotonic()
    async with asyncio.timeout(PATIENCE):
        return max(await answered - connected, 0.0)


async def _first_answer(port: int) -> float:
    while await http.post(port, "/echo") != 200:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(PAUSE)
    return monotonic()
