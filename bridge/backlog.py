"""How fast answers come, and when it is worth to come back."""

from __future__ import annotations

import random
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW: Final = 30  # seconds that a rate is measured over
SOONEST: Final = 1  # seconds
LATEST: Final = 60  # seconds
_SPREAD: Final = 1.5


class Pace:
    """Answers per second over the last half minute, or since the first answer of it.

    ``clock``: seconds, rising. Counted in whole seconds: an answer costs one comparison and one addition.
    """

    __slots__ = ("_clock", "_second", "_seconds", "total")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = 0
        self._clock = clock
        self._second = [0, 0]  # which one, and its answers
        self._seconds: deque[list[int]] = deque()

    def note(self) -> None:
        """Count an answer."""
        self.total += 1
        now = int(self._clock())
        if now != self._second[0]:
            self._second = [now, 0]
            self._seconds.append(self._second)
            self._forget(now)
        self._second[1] += 1

    def rate(self) -> float:
        """Return the answers per second; 0 if there were none."""
        now = self._clock()
        self._forget(int(now))
        if not self._seconds:
            return 0.0
        span = max(now - self._seconds[0][0], 1.0)
        return sum(answers for _, answers in self._seconds) / span

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW:
            self._seconds.popleft()


def retry_after(seconds: float, uniform: Callable[[float, float], float] = random.uniform) -> int:
    """Return the `Retry-After` for something that is expected in so many seconds: whole seconds, 1 to 60.

    Up to half as much again, at random: those who were refused together should not come back together.
    """
    soon = min(max(seconds, SOONEST), LATEST / _SPREAD)
    return min(int(uniform(soon, soon * _SPREAD + 1)), LATEST)


def time_to_drain(waiting: int, per_second: float, otherwise: float) -> float:
    """Return how long ``waiting`` take at this rate, in seconds; ``otherwise`` while nothing is answered at all."""
    return waiting / per_second if per_second > 0 else otherwise
