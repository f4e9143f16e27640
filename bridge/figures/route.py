"""What is counted of one route."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bridge.figures.histogram import Exemplar, Histogram

if TYPE_CHECKING:
    from bridge.translate import Answer

CALLER_GONE: Final = "caller-gone"
# What anybody who reaches the port can make calls end with: it must say nothing of how well callers are served.
STRANGERS: Final = frozenset({"unauthenticated", "forbidden"})
# A worker's answer by its class: a label for each status would be as many as workers care to make up.
_CLASSES: Final = ("", "", "2xx", "3xx", "4xx", "5xx")


class RouteFigures:
    """Counts since the start.

    ``outcomes``: how calls ended: the class of the worker's answer (``2xx``), the name of a problem, or
    ``caller-gone``. ``took``: from the arrival of the head to the answer, but for :data:`STRANGERS`, whose refusal
    takes no time; ``queued`` and ``worked``: as workers tell.
    """

    __slots__ = ("outcomes", "queued", "took", "worked")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.took = Histogram()
        self.queued = Histogram()
        self.worked = Histogram()

    def ended(self, outcome: str, seconds: float, trace_id: str = "") -> None:
        """Count the end of a call; ``trace_id``: 32 hex digits of a trace that somebody samples, or empty."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if outcome in STRANGERS:
            return
        place = self.took.note(seconds)
        if trace_id:
            self.took.exemplars[place] = Exemplar(trace_id, seconds, time.time())

    def told(self, answer: Answer, *, worked: bool = True) -> str:
        """Count what a worker told of its answer; return the outcome that it is.

        ``worked``: whether it worked for this call, and not for an earlier one that got the same answer: a worker's
        time is counted once.
        """
        if worked and answer.queue_ms is not None:
            self.queued.note(answer.queue_ms / 1_000)
        if worked and answer.work_ms is not None:
            self.worked.note(answer.work_ms / 1_000)
        return _CLASSES[answer.status // 100]
