"""What the end of a held call means for its caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.backlog import retry_after, time_to_drain
from bridge.exchange import End, Refused
from bridge.problems import Problem, retry_later

if TYPE_CHECKING:
    from activemq import Frame
    from bridge.exchange import Held
    from bridge.problems import Ran
    from bridge.routing import ServedRoute

# Ends that leave a message behind which nobody waits for, or a worker that works for nobody.
WITHDRAWN: Final = frozenset(
    {End.CALLER_GONE, End.DEADLINE, End.UNCONFIRMED, End.NO_WORKER, End.READER_BEHIND, End.BAD_PART, End.WORKER_LOST}
)


def problem_of(outcome: End | Refused, route: ServedRoute, held: Held[Frame]) -> Problem:
    """Return the problem that a call without a reply is answered with."""
    if isinstance(outcome, Refused):
        return queue_full(route, "the broker refused the message")
    if outcome is End.DEADLINE:
        return _deadline(route, held)
    if outcome is End.UNCONFIRMED:
        return retry_later("broker-unavailable", "the broker did not confirm the message in time", "maybe")
    if outcome is End.NO_WORKER:
        # It was sent, and somebody may have come for it at this very moment.
        return no_worker(route, "maybe")
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


def no_worker(route: ServedRoute, ran: Ran | None = None) -> Problem:
    """Return the answer when nobody listens: come back in as long as nobody has listened."""
    after = retry_after(route.queue.absence())
    return retry_later("no-worker", "nobody listens on this route's queue", ran, after=after)


def queue_full(route: ServedRoute, detail: str) -> Problem:
    """Return the answer when the queue takes no more: come back when what waits now is done."""
    queue = route.queue
    after = retry_after(time_to_drain(queue.unanswered, queue.pace.rate(), route.settings.timeout))
    return retry_later("queue-full", detail, after=after)
