"""Latencies to what is shown of them."""

from __future__ import annotations

from math import ceil
from typing import TypedDict


class Load(TypedDict):
    """What a load came to; latencies in ms, ``failed``: answers that were not 200, and broken connections."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failed: int


def summary(latencies: list[float], seconds: float, failed: int = 0) -> Load:
    """Sum up latencies, given in seconds; percentiles by nearest rank."""
    ordered = sorted(latencies)
    return Load(
        requests=len(ordered),
        seconds=seconds,
        p50=percentile(ordered, 50) * 1_000,
        p99=percentile(ordered, 99) * 1_000,
        failed=failed,
    )


def percentile(ordered: list[float], percent: float) -> float:
    """Return the nearest-rank percentile of a sorted list; 0 of an empty one."""
    return ordered[max(ceil(len(ordered) * percent / 100), 1) - 1] if ordered else 0.0
