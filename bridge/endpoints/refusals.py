"""What a call is told that got no reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.backlog import retry_after, time_to_drain
from bridge.exchange import End, Refused
from bridge.problems import Problem, retry_later

if TYPE_CHECKING:
    from bridge.problems import Ran
    from bridge.routing import ServedRoute


def problem_of(outcome: End | Refused, route: ServedRoute) -> Problem:
    """Return the answer for a call that ended without a reply."""
    if isinstance(outcome, Refused):
        return queue_full(route, "the broker refused the message")
    if outcome is End.DEADLINE:
        return Problem("deadline", "no worker replied in time", extra={"phase": "unknown"})
    if outcome is End.UNCONFIRMED:
        return retry_later("broker-unavailable", "the broker did not confirm the message in time", "maybe")
    if outcome is End.NO_WORKER:
        # Somebody may have come and gone again at this very moment, and the message lies there until its deadline.
        return no_worker(route, "maybe")
    return Problem("broker-lost", "the connection to the broker died while the call waited")


def no_worker(route: ServedRoute, ran: Ran | None = None) -> Problem:
    """Return the answer when nobody listens: come back in as long as nobody has listened."""
    after = retry_after(route.queue.absence())
    return retry_later("no-worker", "nobody listens on this route's queue", ran, after=after)


def queue_full(route: ServedRoute, detail: str) -> Problem:
    """Return the answer when the queue takes no more: come back when what waits now is done."""
    queue = route.queue
    after = retry_after(time_to_drain(queue.unanswered, queue.pace.rate(), route.settings.timeout))
    return retry_later("queue-full", detail, after=after)
