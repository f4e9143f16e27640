"""The last quarter of an hour, in steps: what a page of an operator draws."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.figures.route import RouteFigures
    from bridge.routing import ServedRoute

STEP: Final = 10.0  # seconds
STEPS: Final = 90


@dataclass(frozen=True, slots=True)
class RouteStep:
    """One route in one step: what ended in it, and how things were at its end.

    ``outcomes``: calls by how they ended; ``took``: their durations, as :class:`Histogram.counts`; ``held`` calls,
    ``unanswered`` messages and ``listeners`` of its queue (negative: not known).
    """

    outcomes: Mapping[str, int]
    took: tuple[int, ...]
    held: int
    unanswered: int
    listeners: int


@dataclass(frozen=True, slots=True)
class Step:
    """All routes by name. ``at``: its end, ``seconds``: its length; both by the loop's clock."""

    at: float
    seconds: float
    routes: Mapping[str, RouteStep]


class History:
    """Looks at ``routes()`` every :data:`STEP` seconds and keeps :data:`STEPS` of these looks."""

    def __init__(self, routes: Callable[[], Iterable[ServedRoute]]) -> None:
        self._routes = routes
        self._steps: deque[Step] = deque(maxlen=STEPS)
        self._before: dict[str, _Totals] = {}
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        self._before = {route.settings.name: _totals(route.counts.figures) for route in self._routes()}
        self._timer = loop.call_later(STEP, self._tick)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def steps(self) -> list[Step]:
        """Return the steps, the oldest first; the last is the one that is not over yet."""
        return [*self._steps, self._look()]

    def _tick(self) -> None:
        step = self._look()
        self._steps.append(step)
        self._last = step.at
        self._before = {route.settings.name: _totals(route.counts.figures) for route in self._routes()}
        self._timer = asyncio.get_running_loop().call_later(STEP, self._tick)

    def _look(self) -> Step:
        now = asyncio.get_running_loop().time()
        routes = {route.settings.name: self._step_of(route) for route in self._routes()}
        return Step(now, now - self._last, routes)

    def _step_of(self, route: ServedRoute) -> RouteStep:
        now, before = _totals(route.counts.figures), self._before.get(route.settings.name, _NONE)
        if before.of is not route.counts.figures:  # another route of its name, which is new
            before = _NONE
        rises = ((outcome, number - before.outcomes.get(outcome, 0)) for outcome, number in now.outcomes.items())
        took = before.took or (0,) * len(now.took)
        return RouteStep(
            outcomes={outcome: rise for outcome, rise in rises if rise},
            took=tuple(after - earlier for after, earlier in zip(now.took, took, strict=True)),
            held=route.counts.held,
            unanswered=route.queue.unanswered,
            listeners=route.queue.listeners,
        )


@dataclass(frozen=True, slots=True)
class _Totals:
    of: RouteFigures | None
    outcomes: Mapping[str, int]
    took: tuple[int, ...]


_NONE: Final = _Totals(None, {}, ())  # of a route that was not there


def _totals(figures: RouteFigures) -> _Totals:
    return _Totals(figures, dict(figures.outcomes), tuple(figures.took.counts))
