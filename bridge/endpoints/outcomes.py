"""What the end of a held call means for its caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.exchange import End, Refused
from bridge.problems import Problem, retry_later

if TYPE_CHECKING:
    from activemq import Frame
    from bridge.exchange import Held
    from bridge.routing import ServedRoute

# Ends that leave a message behind which nobody waits for, or a worker that works for nobody.
WITHDRAWN: Final = frozenset(
    {End.CALLER_GONE, End.DEADLINE, End.UNCONFIRMED, End.READER_BEHIND, End.BAD_PART, End.WORKER_LOST}
)


def problem_of(outcome: End | Refused, route: ServedRoute, held: Held[Frame]) -> Problem:
    """Return the problem that a call without a reply is answered with."""
    if isinstance(outcome, Refused):
        return retry_later("queue-full", "the broker refused the message")
    if outcome is End.DEADLINE:
        return _deadline(route, held)
    if outcome is End.UNCONFIRMED:
        return retry_later("broker-unavailable", "the broker did not confirm the message in time", "maybe")
    if outcome is End.READER_BEHIND:
        return Problem("slow-reader", "the caller reads more slowly than the worker writes")
    if outcome is End.BAD_PART:
        return Problem("bad-reply", "a part of the worker's answer cannot be sent: it is too large, or no answer")
    if outcome is End.WORKER_LOST:
        return Problem("worker-lost", "the worker was lost after a part of its answer was sent")
    return Problem("broker-lost", "the connection to the broker died while the call waited")


def _deadline(route: ServedRoute, held: Held[Frame]) -> Problem:
    """Say how far the work had come. `queued` is certain where all workers tell when they begin."""
    if held.attempt:
        return Problem("deadline", "the worker did not finish in time", "yes", {"phase": "running"})
    if route.settings.started == "always":
        return Problem("deadline", "no worker took it in time", "no", {"phase": "queued"})
    return Problem("deadline", "no worker replied in time", extra={"phase": "unknown"})
