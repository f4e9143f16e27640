"""The last calls, one by one: for the operator who has a correlation id and wants to know what became of it."""

from __future__ import annotations

from collections import deque
from heapq import merge
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.figures.route import CALLER_GONE, STRANGERS

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS: Final = 2_000  # about half a KiB each
PROBLEMS: Final = 200  # of their own: a busy bridge has answered 2,000 calls since the last problem within a second
REFUSED: Final = 5  # of those who may not call: whoever tries keys out must not push the problems out, nor fill a page
# No problem, or nobody's here: whoever tries paths out must not push the others out of the list.
_NOT_LISTED: Final = frozenset({"2xx", "3xx", "4xx", "5xx", CALLER_GONE, "no-route", "method-not-allowed"})


class Ended(NamedTuple):
    """A call that is over.

    ``at``: when its head arrived, seconds of the loop's clock; ``sent`` and ``took``: seconds from then until its
    message was sent (None: it was not) and until its answer. ``outcome``: as :class:`RouteFigures` counts it;
    ``detail``: a problem's. ``queue_ms``, ``work_ms``: as the worker told; ``attempt``: the last that began, 0: none
    is known; ``trace_id``: of a trace that somebody samples, 32 hex digits, else empty.
    """

    correlation_id: str
    route: str
    caller: str
    method: str
    path: bytes  # as it came, without its query, perhaps cut
    status: int  # of the response; 0: none was begun
    at: float
    sent: float | None
    took: float
    outcome: str
    detail: str
    queue_ms: float | None
    work_ms: float | None
    attempt: int
    trace_id: str = ""


class Ledger:
    """Keeps the last :data:`CALLS` calls and, of these and older ones, the last :data:`PROBLEMS` problems.

    Of :data:`STRANGERS` it keeps the last :data:`REFUSED` beside these.

    Written with each call and read by people: a place in a ring, and a search when somebody asks.
    """

    def __init__(self) -> None:
        self._calls: deque[Ended] = deque(maxlen=CALLS)
        self._problems: deque[Ended] = deque(maxlen=PROBLEMS)
        self._refused: deque[Ended] = deque(maxlen=REFUSED)

    def note(self, ended: Ended) -> None:
        """Keep a call; the oldest one goes."""
        self._calls.append(ended)
        if ended.outcome in STRANGERS:
            self._refused.append(ended)
        elif ended.outcome not in _NOT_LISTED:
            self._problems.append(ended)

    def find(self, correlation_id: str) -> Ended | None:
        """Return a call by its id; None if it is not among those that are kept."""
        kept = chain(reversed(self._calls), self._problems, self._refused)
        return next((ended for ended in kept if ended.correlation_id == correlation_id), None)

    def problems(self) -> Iterator[Ended]:
        """Return the last problems, the newest first."""
        return merge(reversed(self._problems), reversed(self._refused), key=_end, reverse=True)


def _end(ended: Ended) -> float:
    return ended.at + ended.took
