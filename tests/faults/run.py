"""One run: clean, then the fault again and again, then healed; its history checked, and its figures."""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.history import Begun, History
from tests.faults.invariants import Violation, check
from tests.faults.quiet import settle
from tests.faults.scenarios import Scenario
from tests.faults.world import World

CLEAN = {False: 0.5, True: 20.0}  # seconds before the first fault, by the form
HEAL = {False: 0.2, True: 10.0}
SHOWN = 20  # violations


@dataclass(frozen=True)
class Figures:
    """What is told of a run; ``calls`` by how they ended, ``seconds`` from the first call to the last answer."""

    scenario: str
    form: str
    calls: dict[str, int]
    kinds: dict[str, int]
    executions: int
    faults: dict[str, int]
    violations: int
    seconds: float
    broker: str
    machine: str
    day: str


async def run(scenario: Scenario, folder: Path, broker: Any, *, long: bool) -> tuple[Figures, list[Violation]]:
    """Do all of it. The journals are thrown away if nothing is wrong."""
    journals = folder / scenario.name
    journals.mkdir(parents=True)
    environ, plan = scenario.environ, scenario.plan
    async with World(
        journals, broker, workers=scenario.workers, slots=scenario.slots, attempts=scenario.attempts,
        hung_after=scenario.hung_after, environ=environ, plan=plan, long=long,
    ) as world:  # fmt: skip
        begun = time.monotonic()
        await world.call()
        await world.well_again(50)
        await asyncio.sleep(CLEAN[long])
        await scenario.do(world, scenario.long if long else scenario.short)
        await world.well_again(50)
        await asyncio.sleep(HEAL[long])
        counted = await settle(world)
        seconds = time.monotonic() - begun
        faults = world.injected
    history = History.read(journals)
    violations = check(history, scenario.judged)
    figures = Figures(
        scenario.name, "long" if long else "short", counted["ended"], counted["kinds"], len(history.of(Begun)), faults,
        len(violations), round(seconds, 1), broker.kind, platform.machine(), time.strftime("%Y-%m-%d", time.gmtime()),
    )  # fmt: skip
    if not violations:
        shutil.rmtree(journals)
    return figures, violations


def keep(figures: Figures, folder: Path) -> None:
    """Write them down for the report, beside those of other runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{figures.scenario}-{time.time_ns()}.json").write_text(json.dumps(asdict(figures), indent=1) + "\n")


def told(violations: list[Violation]) -> str:
    """What is wrong, for people."""
    shown = "\n".join(map(str, violations[:SHOWN]))
    return f"{len(violations)} violations, of which the first are\n{shown}"
