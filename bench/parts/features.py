"""What a plain held call pays for what it does not use: each feature switched off and on, in turns."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.procfs import cpu_seconds
from bench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.child import Child
    from bench.generator import Generator
    from bench.options import Options

IN_FLIGHT = 64
SIZE = 64  # bytes

# What is switched on, on which route of which bridge, and where the same call goes without it. "bare": a bridge without
# a store, whose login may not see who listens, so that it knows no presence; it has the route "off" only.
FEATURES = (
    ("presence, withdrawal, a store that is open", "full", "/with/off", "bare", "/with/off"),
    ("phases: started = ask", "full", "/with/started", "full", "/with/off"),
    ("keys and jobs allowed", "full", "/with/jobs", "full", "/with/off"),
    ("events allowed: stream = true", "full", "/with/stream", "full", "/with/off"),
    ("all of these", "full", "/with/all", "bare", "/with/off"),
    ("traces: each call, spans thrown away", "traced", "/with/off", "full", "/with/off"),
)
USED = frozenset(
    {"traces: each call, spans thrown away"}
)  # by each call that is measured: what it costs, no bar for it


@dataclass(frozen=True, slots=True)
class Feature:
    """Medians over the rounds, of the feature on beside off in the same round: rate, and CPU for each call.

    ``cpu`` is of bridge, worker and broker together, ``bridge`` of the bridge alone.
    """

    name: str
    off_rate: float
    on_rate: float
    rate: float
    cpu: float
    bridge: float
    failed: int


@dataclass(frozen=True, slots=True)
class _Sample:
    rate: float
    cpu: float
    bridge: float
    failed: int


async def measure(options: Options, generator: Generator, tell: Callable[[str], None]) -> list[Feature]:
    """Measure each feature in turns with what it is compared with; every other round the other way round."""
    async with Stage() as stage:
        worker = await stage.work()
        bridges = {
            "bare": await stage.serve("bridge", "uvicorn", routes="off", limited=True),
            "full": await stage.serve("bridge", "uvicorn", routes="features"),
            "traced": await stage.serve("bridge", "uvicorn", routes="features", traced=True),
        }
        broker = stage.broker.pid

        async def load(where: tuple[str, str], seconds: int) -> _Sample:
            bridge = bridges[where[0]]
            return await _sample(bridge, (bridge.pid, worker.pid, broker), where[1], generator, seconds)

        tell("features: warming up")
        for bridge in bridges:
            await load((bridge, "/with/off"), options.warm_up)
        found: dict[str, list[tuple[_Sample, _Sample]]] = {name: [] for name, *_ in FEATURES}
        for number in range(1, options.feature_rounds + 1):
            tell(f"features: round {number} of {options.feature_rounds}")
            for name, *places in FEATURES:
                on, off = (places[0], places[1]), (places[2], places[3])
                order = (on, off) if number % 2 else (off, on)
                samples = {where: await load(where, options.feature_seconds) for where in order}
                found[name].append((samples[on], samples[off]))
    return [_feature(name, pairs) for name, pairs in found.items()]


async def _sample(bridge: Child, pids: tuple[int, ...], path: str, generator: Generator, seconds: int) -> _Sample:
    before = [cpu_seconds(pid) for pid in pids]
    load, _ = await generator.load(bridge.facts["port"], path, IN_FLIGHT, SIZE, seconds)
    calls = max(load["requests"], 1)
    spent = [(cpu_seconds(pid) - began) / calls for pid, began in zip(pids, before, strict=True)]
    return _Sample(load["requests"] / load["seconds"], sum(spent), spent[0], load["failed"])


def _feature(name: str, pairs: list[tuple[_Sample, _Sample]]) -> Feature:
    return Feature(
        name,
        off_rate=median(off.rate for _, off in pairs),
        on_rate=median(on.rate for on, _ in pairs),
        rate=median(on.rate / off.rate for on, off in pairs),
        cpu=median(on.cpu / off.cpu for on, off in pairs),
        bridge=median(on.bridge / off.bridge for on, off in pairs),
        failed=sum(on.failed + off.failed for on, off in pairs),
    )
