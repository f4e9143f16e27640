"""`mqbridge bench`: a quick look at how many calls a second a route answers, and how fast."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

from bridge.client import BearerKey, problem_of
from bridge.client.addresses import Address
from mqbridge.asking import UNREACHABLE
from mqbridge.console import CommandError
from mqbridge.progress import Progress
from mqbridge.tables import add_row, make_table, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqbridge.outgoing import Outgoing

PERCENTILES: Final = (50, 95, 99)


@dataclass(slots=True)
class Report:
    """What came back: seconds of each call, by how it ended."""

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: int = 0
    seconds: float = 0.0

    @property
    def calls(self) -> int:
        """All that were answered, or lost."""
        return sum(map(len, self.took.values()))

    def add(self, outcome: str, seconds: float, *, good: bool) -> None:
        """Count one."""
        self.took[outcome].append(seconds)
        self.failed += not good


@dataclass(frozen=True, slots=True)
class Load:
    """How much: ``calls`` in all, or for ``seconds``; ``concurrency`` of them at once; ``timeout`` seconds for each."""

    calls: int | None
    seconds: float | None
    concurrency: int
    timeout: float


class _Left:
    """Who takes a call from here may send it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._calls = math.inf if load.calls is None else load.calls
        self._began = time.perf_counter()
        self._taken = 0

    def take(self) -> bool:
        if self._taken >= self._calls or (self._load.seconds is not None and self.seconds >= self._load.seconds):
            return False
        self._taken += 1
        return True

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._began

    def show(self, progress: Progress, calls: int) -> None:
        if self._load.seconds is None:
            progress.total, progress.done = self._load.calls, calls
        else:
            progress.total, progress.done = self._load.seconds, round(self.seconds, 1)
        progress.now = f"{calls / self.seconds:.0f} calls/s"


async def measure(request: Outgoing, key: str | None, load: Load, report: Report) -> None:
    """Send calls and fill ``report``, also if it is cancelled. Raises :class:`CommandError` if no call gets through."""
    try:
        url = Address.parse(request.urls[0]).at(httpx.URL(request.path))
    except (ValueError, httpx.InvalidURL) as error:
        raise CommandError(f"--url {error}", 2) from error
    client = httpx.AsyncClient(
        limits=httpx.Limits(max_connections=load.concurrency, max_keepalive_connections=load.concurrency),
        timeout=httpx.Timeout(load.timeout),
        auth=BearerKey(key) if key else None,
        trust_env=False,
    )
    async with client:
        await _reach(client, url)
        with Progress("calling") as progress:
            left = _Left(load)
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(load.concurrency):
                        group.create_task(_send(client, request, url, left, report, progress))
            finally:
                report.seconds = left.seconds


async def _reach(client: httpx.AsyncClient, url: httpx.URL) -> None:
    """Ask for anything, so that a bridge that is not there is said at once."""
    try:
        await client.get(url.copy_with(path="/-/live", query=None))
    except httpx.TransportError as error:
        raise CommandError(f"{url} cannot be reached ({error}); {UNREACHABLE}") from error


async def _send(
    client: httpx.AsyncClient, request: Outgoing, url: httpx.URL, left: _Left, report: Report, progress: Progress
) -> None:
    """Send one call after the other, as long as there are any."""
    while left.take():
        sent = time.perf_counter()
        try:
            response = await client.request(request.method, url, headers=request.headers, content=request.body)
        except httpx.TransportError as error:
            outcome, good = type(error).__name__, False
        else:
            problem = problem_of(response)
            outcome = f"{response.status_code}" if problem is None else f"{response.status_code} {problem['name']}"
            good = not response.is_error
        report.add(outcome, time.perf_counter() - sent, good=good)
        left.show(progress, report.calls)


async def bench(request: Outgoing, key: str | None, load: Load, *, as_json: bool) -> int:
    """Send calls and print how they went, also if it is interrupted; return the exit code."""
    report = Report()
    try:
        await measure(request, key, load, report)
    finally:
        if report.calls:
            _print(report, request, load, as_json=as_json)
    return 1 if report.failed else 0


def _print(report: Report, request: Outgoing, load: Load, *, as_json: bool) -> None:
    rows = [_row(name, took) for name, took in sorted(report.took.items(), key=lambda item: -len(item[1]))]
    total = _row("all", [seconds for took in report.took.values() for seconds in took])
    per_second = round(report.calls / report.seconds, 1)
    if as_json:
        head = {"url": request.urls[0] + request.path, "concurrency": load.concurrency}
        seconds = round(report.seconds, 3)
        print(json.dumps({**head, "seconds": seconds, "calls_per_second": per_second, "all": total, "outcomes": rows}))
        return
    table = make_table("outcome", right=["calls", *(f"p{percent} ms" for percent in PERCENTILES), "max ms"])
    for row in (*rows, *([total] if len(rows) > 1 else [])):
        times = (f"{row[name]:.1f}" for name in (*(f"p{percent}_ms" for percent in PERCENTILES), "max_ms"))
        add_row(table, (str(row["outcome"]), str(row["calls"]), *times))
    print_table(table)
    at_once = f"{load.concurrency} at a time"
    print(f"\n{report.calls} calls in {report.seconds:.1f} s, {at_once}: {per_second:g} a second")


def _row(outcome: str, took: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(took)
    times = {f"p{percent}_ms": percentile(ordered, percent) for percent in PERCENTILES} | {"max_ms": ordered[-1]}
    return {"outcome": outcome, "calls": len(took), **{name: round(1_000 * value, 3) for name, value in times.items()}}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of a sorted sequence that is not empty."""
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]
