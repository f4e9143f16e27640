"""How long things took: counts between fixed bounds, from which rates and percentiles can be told."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds. From a call over a broker on the same machine to a long poll; each about twice the last.
BOUNDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One of those that were counted: its trace, how many seconds it took, and when it ended (epoch seconds)."""

    trace_id: str
    seconds: float
    at: float


class Histogram:
    """``counts[i]``: those of at most ``BOUNDS[i]`` seconds and more than the bound before; the last: all others."""

    __slots__ = ("counts", "exemplars", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}  # the last one of each

    def note(self, seconds: float) -> int:
        """Count one; return in which place."""
        place = bisect_left(BOUNDS, seconds)
        self.counts[place] += 1
        self.sum += seconds
        return place

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts)


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Return the seconds that ``share`` (0 to 1) of the counted did not exceed; None if there are none.

    Between two bounds it is taken to rise evenly, as Prometheus's ``histogram_quantile`` does. What is beyond the last
    bound is told as that bound.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    below = 0
    for place, up_to in enumerate(accumulate(counts)):
        if up_to >= rank and counts[place]:
            if place == len(BOUNDS):
                break
            lower = BOUNDS[place - 1] if place else 0.0
            return lower + (BOUNDS[place] - lower) * (rank - below) / counts[place]
        below = up_to
    return BOUNDS[-1]
