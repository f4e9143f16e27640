"""Results as Markdown, aligned so that it reads well in a terminal too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.parts.calls import BESIDE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.bars import Bar
    from bench.parts.calls import Calls
    from bench.parts.death import Death
    from bench.parts.features import Feature
    from bench.parts.keyed import Keyed
    from bench.parts.memory import Memory
    from bench.parts.overload import Overload
    from bench.parts.start import Start
    from bench.parts.stock import Stock
    from bench.results import Results

MIB = 1024  # KiB
SHARED = (
    "Bridges, broker, worker and load generator share the machine: a second process brings more only where a core was "
    "idle before. CPU is that of all of a subject's processes together; without a bridge it is the worker's, too."
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table; all columns but the first ``left`` are aligned to the right."""
    # At least 2: a rule of ":" alone is no table to a forge.
    widths = [max(2, *(len(row[column]) for row in (head, *rows))) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [("-" * width) if column < left else ("-" * (width - 1) + ":") for column, width in enumerate(widths)]
    return "\n".join([line(head), f"|{'|'.join(f' {dashes} ' for dashes in rule)}|", *map(line, rows)])


def report(results: Results, bars: Sequence[Bar]) -> Iterator[str]:
    """Yield the sections of the whole report."""
    yield table(("machine", ""), [*results.machine.items(), ("load generator", results.generator)], left=2)
    if results.calls is not None:
        yield "### Calls\n\n" + _calls(results.calls)
    if results.processes is not None:
        yield f"### Processes\n\n{_calls(results.processes)}\n\n{SHARED}"
    if results.memory is not None:
        yield "### Held calls\n\n" + _memory(results.memory)
    if results.stock is not None:
        yield "### A stock broker\n\n" + _stock(results.stock)
    if results.features is not None:
        yield "### Features: what a call pays for those that it does not use, and for traces\n\n" + _features(
            results.features
        )
    yield from _faults(results)
    rows = [(bar.what, bar.bar, bar.measured, "✓" if bar.met else "✗") for bar in bars]
    if rows:
        yield "### Bars\n\n" + table(("what", "bar", "measured", ""), rows, left=3)


def _faults(results: Results) -> Iterator[str]:
    if results.keyed is not None:
        yield "### Idempotency keys\n\n" + _keyed(results.keyed)
    if results.death is not None:
        yield "### The broker's death\n\n" + _death(results.death)
    if results.start is not None:
        yield "### Start\n\n" + _start(results.start)
    if results.overload is not None:
        yield "### Twice the capacity\n\n" + _overload(results.overload)


def _calls(calls: Calls) -> str:
    head = [
        "subject",
        "in flight",
        "bytes",
        "calls/s",
        "p50 ms",
        "p99 ms",
        "failed",
        "CPU µs",
        "worker",
        "broker",
        "load",
    ]
    rows = []
    for row in sorted(calls.rows(), key=lambda row: (row.size, row.connections)):
        numbers = (f"{row.connections}", f"{row.size}", f"{row.rate:,.0f}", f"{row.p50:.2f}", f"{row.p99:.1f}")
        cpu = {name: f"{spent:.0f}" for name, spent in row.cpu.items()}
        if row.subject.endswith(BESIDE):  # what those did was for the limit
            cpu |= {"worker": "–", "broker": "–"}
        rows.append((row.subject, *numbers, f"{row.failed}", *cpu.values()))
    return table(head, rows)


def _memory(memory: Sequence[Memory]) -> str:
    sizes = ["server", "held", "base MiB", "half held", "all held", "all gone", "held again", "KiB each"]
    head = [*sizes, "accepted in s", "aborts seen in s", "tasks"]
    rows = []
    for m in memory:
        weights = (f"{kib / MIB:.0f}" for kib in (m.base, m.half, m.all, m.after, m.again))
        times = (f"{m.accepted_in:.1f}", f"{m.aborts_seen_in:.2f}")
        rows.append((m.name, f"{m.held:,}", *weights, f"{m.each_of_all:.1f}", *times, _tasks(m)))
    return table(head, rows)


def _tasks(memory: Memory) -> str:
    return f"{memory.tasks_before} → {memory.tasks_after}"


def _stock(stock: Stock) -> str:
    rows = [
        ("bridge on uvicorn", f"{stock.bridge:.2f}"),
        ("bare STOMP without quick ACKs", f"{stock.naive:.2f}"),
    ]
    return table(("no tcpNoDelay, 1 connection, receipts", "p50 ms"), rows)


def _features(features: Sequence[Feature]) -> str:
    head = (
        "on beside off, 64 in flight, 64 bytes",
        "off, calls/s",
        "on, calls/s",
        "rate",
        "CPU of all",
        "CPU of the bridge",
    )
    rows = [
        (f.name, f"{f.off_rate:,.0f}", f"{f.on_rate:,.0f}", *(f"{ratio:.3f}" for ratio in (f.rate, f.cpu, f.bridge)))
        for f in features
    ]
    return table(head, rows)


def _keyed(keyed: Keyed) -> str:
    rows = [
        ("bare persistent STOMP with receipts", f"{keyed.bare:,.0f}", f"{keyed.bare_p50:.1f}", "–"),
        ("calls with a key, SQLite", f"{keyed.keyed:,.0f}", f"{keyed.keyed_p50:.1f}", f"{keyed.keyed_p99:.1f}"),
    ]
    return table(("64 in flight, 64 bytes", "per second", "p50 ms", "p99 ms"), rows)


def _death(death: Death) -> str:
    answers = ", ".join(f"{count} × {answer}" for answer, count in sorted(death.answers.items()))
    rows = [
        ("callers, all rounds", answers),
        ("kill to the last answer, s", _each(death.told_in)),
        ("CONNECTED again to the first answered call, s", _each(death.well_in)),
    ]
    return table((f"{death.held:,} held", "each round"), rows)


def _start(start: Start) -> str:
    rows = [("broker", _each(start.broker)), ("broker, bridge and workers", _each(start.ready))]
    return table(("from nothing to ready, s", "each round"), rows)


def _overload(overloads: Sequence[Overload]) -> str:
    rates = ("peak", "offered", "goodput", "refused", "of the peak")
    head = ("per second", *rates, "503: p50 ms", "p99 ms", "max ms", "200: p99 ms", "unsent", "machine busy")
    rows = []
    for one in overloads:
        numbers = [f"{one.middle(name):,.0f}" for name in rates[:4]]
        times = [f"{one.middle(name):.1f}" for name in ("refused_p50", "refused_p99", "refused_max", "answered_p99")]
        rest = (f"{one.middle('unsent'):,.0f}", f"{one.middle('busy'):.0%}")
        rows.append((one.server, *numbers, f"{one.of_peak:.3f}", *times, *rest))
    return table(head, rows)


def _each(seconds: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in seconds)
