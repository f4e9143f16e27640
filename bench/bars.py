"""What the project asks of itself, and whether this run met it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.parts.calls import AT, BESIDE, LIMIT
from bench.parts.features import USED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.parts.calls import Calls
    from bench.parts.death import Death
    from bench.parts.features import Feature
    from bench.parts.keyed import Keyed
    from bench.parts.memory import Memory
    from bench.parts.overload import Overload
    from bench.parts.start import Start
    from bench.parts.stock import Stock
    from bench.results import Results

RATE_OF_LIMIT = 0.55
CPU_OF_NULL = {"uvicorn": 1.5, "hypercorn": 1.25}
P50_OVER_LIMIT = 0.25  # ms
WORKER_CPU = 45.0  # µs
KIB_EACH = {"uvicorn": 16.0, "hypercorn": 26.0}
HALF_HELD = 129.0  # MiB, all of the process
ABORTS_SEEN = 0.5  # seconds
LEFT_OVER = 1.10  # of the base
STOCK_P50 = 1.0  # ms
KEYED_OF_BARE = 0.5
FEATURE = 0.1  # of throughput, and of CPU
TOLD = 0.1  # seconds
WELL = 1.0  # seconds
START = 4.0  # seconds
GOODPUT = 0.9  # of the peak
REFUSED_WITHIN = 50.0  # ms
KIB = 1024.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One line: what, how much at most or least, what it was."""

    what: str
    bar: str
    measured: str
    met: bool


def judge(results: Results) -> list[Bar]:
    """Compare whatever was measured."""
    bars: list[Bar] = []
    if results.calls is not None:
        bars += _calls(results.calls)
    for memory in results.memory or ():
        bars += _memory(memory)
    if results.stock is not None:
        bars += _stock(results.stock)
    if results.features is not None:
        bars += _features(results.features)
    if results.keyed is not None:
        bars += _keyed(results.keyed)
    if results.death is not None:
        bars += _death(results.death)
    if results.start is not None:
        bars += _start(results.start)
    for overload in results.overload or ():
        bars += _overload(overload)
    return bars


def _at_most(what: str, limit: float, value: float, unit: str, digits: int = 2) -> Bar:
    return Bar(what, f"≤ {limit:g} {unit}", f"{value:.{digits}f} {unit}", value <= limit)


def _calls(calls: Calls) -> Iterator[Bar]:
    limit, bridge = calls.row(LIMIT, *AT), calls.row("bridge on uvicorn", *AT)
    share = bridge.rate / limit.rate
    yield Bar(
        "calls/s at 64 connections, Uvicorn", f"≥ {RATE_OF_LIMIT} × limit", f"{share:.3f}", share >= RATE_OF_LIMIT
    )
    for server, bar in CPU_OF_NULL.items():
        cpu = calls.row(f"bridge on {server}", *AT).cpu["subject"]
        times, beside = (cpu / calls.row(f"null on {server}{which}", *AT).cpu["subject"] for which in ("", BESIDE))
        measured = f"{times:.2f} × null ({beside:.2f} × null{BESIDE})"
        yield Bar(f"CPU per call in the bridge, {server.title()}", f"≤ {bar} × null", measured, times <= bar)
    one, alone = calls.row(LIMIT, 1, AT[1]).p50, calls.row("bridge on uvicorn", 1, AT[1]).p50
    yield _at_most("p50 at 1 connection, over the limit's, Uvicorn", P50_OVER_LIMIT, alone - one, "ms")
    yield _at_most("CPU per job in the worker", WORKER_CPU, bridge.cpu["worker"], "µs", 0)
    failed = sum(row.failed for row in calls.rows())
    yield Bar("calls without their 200", "0", f"{failed}", not failed)


def _memory(memory: Memory) -> Iterator[Bar]:
    name = memory.name.capitalize()
    what = f"memory per held call at {memory.held:,} held, {name}"
    yield _at_most(what, KIB_EACH[memory.server], memory.each_of_all, "KiB", 1)
    if memory.server == "uvicorn":
        yield _at_most(f"{memory.held // 2:,} held, all of the process, {name}", HALF_HELD, memory.half / KIB, "MiB", 0)
    what = f"{memory.held // 2:,} of {memory.held:,} aborted: all seen, {name}"
    yield _at_most(what, ABORTS_SEEN, memory.aborts_seen_in, "s")
    yield Bar(
        f"tasks back at the base, {name}",
        f"{memory.tasks_before}",
        f"{memory.tasks_after}",
        memory.tasks_after <= memory.tasks_before,
    )
    what = f"memory back at the base, {name}"
    yield _at_most(what, round(LEFT_OVER * memory.base / KIB), memory.after / KIB, "MiB", 0)


def _stock(stock: Stock) -> Iterator[Bar]:
    yield _at_most("p50 at 1 connection, broker without tcpNoDelay", STOCK_P50, stock.bridge, "ms")


def _features(features: list[Feature]) -> Iterator[Bar]:
    for feature in features:
        if feature.name in USED:
            continue
        yield Bar(
            f"not used: {feature.name}",
            f"rate ≥ {1 - FEATURE:g}, CPU ≤ {1 + FEATURE:g} × off",
            f"{feature.rate:.2f}, {feature.cpu:.2f}",
            feature.rate >= 1 - FEATURE and feature.cpu <= 1 + FEATURE,
        )
    failed = sum(feature.failed for feature in features)
    yield Bar("calls without their 200, features", "0", f"{failed}", not failed)


def _keyed(keyed: Keyed) -> Iterator[Bar]:
    share = keyed.keyed / keyed.bare
    what = "keyed calls/s on SQLite, beside bare persistent STOMP with receipts"
    yield Bar(what, f"≥ {KEYED_OF_BARE} × bare", f"{share:.2f}", share >= KEYED_OF_BARE)
    yield Bar("keyed calls without their 200", "0", f"{keyed.failed}", not keyed.failed)


def _death(death: Death) -> Iterator[Bar]:
    worst, all_told = max(death.told_in), set(death.answers) == {"broker-lost"}
    yield Bar(
        f"broker killed: {death.held:,} callers have their broker-lost",
        f"≤ {TOLD:g} s",
        f"{worst:.3f} s (worst round)" + ("" if all_told else ", not all"),
        worst <= TOLD and all_told,
    )
    again = max(death.well_in)
    yield Bar("well again once the broker is back", f"≤ {WELL:g} s", f"{again:.2f} s (worst round)", again <= WELL)


def _start(start: Start) -> Iterator[Bar]:
    yield _at_most("start to ready, warm cache", START, median(start.ready), "s", 1)


def _overload(overload: Overload) -> Iterator[Bar]:
    name = overload.server.capitalize()
    share = overload.of_peak
    what = f"goodput at twice the capacity, {name}"
    yield Bar(what, f"≥ {GOODPUT} × peak", f"{share:.3f} × peak", share >= GOODPUT)
    yield _at_most(f"503 at twice the capacity, p99, {name}", REFUSED_WITHIN, overload.middle("refused_p99"), "ms", 1)
    other = sum(each.other for each in overload.rounds)
    yield Bar(f"neither 200 nor 503 at twice the capacity, {name}", "0", f"{other}", not other)
