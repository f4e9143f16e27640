"""What the page shows, once a second, as JSON can hold it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from bridge.figures import CALLER_GONE, STRANGERS
from bridge.figures.histogram import percentile
from bridge.presence import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.figures.history import RouteStep, Step
    from bridge.figures.snapshot import RouteNow, Snapshot
    from bridge.presence import Queue

RECENT: Final = 60.0  # seconds that percentiles are of
FEW: Final = 0.02  # share of calls that may end badly before it is said
BRIEF: Final = 10.0  # seconds that calls per second are of, at least
_SERVED: Final = frozenset({"2xx", "3xx", "4xx"})
# The callers' own doing, or strangers': no reason for an operator to do anything.
_THEIRS: Final = STRANGERS | {CALLER_GONE, "invalid-request", "no-route", "method-not-allowed"}


def feed_of(now: Snapshot, steps: Sequence[Step]) -> dict[str, Any]:
    """Return the bridge's state and each route's; ``steps``: of its history, the oldest first."""
    queues = {queue.name: queue for queue in now.queues}
    routes = [_route(route, queues[route.queue], steps) for route in now.routes]
    return {
        "ready": now.ready,
        "draining": now.draining,
        "broker": now.connected,
        "store": now.store_up,
        "held": now.held,
        "body_memory": now.body_memory,
        "rate": round(sum(route["rate"] for route in routes), 2),
        "stray_replies": now.stray_replies,
        "routes": routes,
    }


def _route(route: RouteNow, queue: Queue, steps: Sequence[Step]) -> dict[str, Any]:
    own = [(step, step.routes[route.name]) for step in steps if route.name in step.routes]
    recent = _last(own, RECENT)
    took = [sum(counts) for counts in zip(*(part.took for _, part in recent), strict=True)] if recent else []
    outcomes = Counter[str]()
    for _, part in own:
        outcomes.update(part.outcomes)
    listeners = None if queue.listeners == UNKNOWN else queue.listeners
    busy = None if listeners is None else min(listeners, queue.unanswered)
    shown = {
        "name": route.name,
        "queue": queue.name,
        "rate": _rate(_last(own, BRIEF)),
        "held": route.held,
        "max_held": route.max_held,
        **{f"p{round(share * 100)}": percentile(took, share) for share in (0.5, 0.95, 0.99)},
        "backlog": queue.unanswered,
        "listeners": listeners,
        "busy": busy,
        "oldest": round(route.oldest, 1),
        "timeout": route.timeout,
        "outcomes": dict(outcomes),
    }
    return {**shown, **_verdict(shown, _trouble(recent))}


def _last(own: Sequence[tuple[Step, RouteStep]], seconds: float) -> list[tuple[Step, RouteStep]]:
    """Return the steps that make up the last ``seconds``, and no fewer."""
    taken: list[tuple[Step, RouteStep]] = []
    for pair in reversed(own):
        if sum(step.seconds for step, _ in taken) >= seconds:
            break
        taken.append(pair)
    return taken


def _rate(own: Sequence[tuple[Step, RouteStep]]) -> float:
    seconds = sum(step.seconds for step, _ in own)
    ended = sum(sum(part.outcomes.values()) for _, part in own)
    return round(ended / seconds, 2) if seconds > 0 else 0.0


def _trouble(own: Sequence[tuple[Step, RouteStep]]) -> str | None:
    """Return what ends more calls of the last minute than it should; None if nothing does."""
    outcomes = Counter[str]()
    for _, part in own:
        outcomes.update(part.outcomes)
    ours = Counter({name: number for name, number in outcomes.items() if name not in _THEIRS})
    bad = Counter({name: number for name, number in ours.items() if name not in _SERVED})
    if bad.total() <= FEW * ours.total():  # of ours: those who are turned away hide nothing either
        return None
    name = bad.most_common(1)[0][0]
    return "a 5xx of the worker" if name == "5xx" else name


def _verdict(route: Mapping[str, Any], trouble: str | None) -> dict[str, str]:
    """Say in a word how a route is doing, and in a sentence what to do."""
    queue, listeners = route["queue"], route["listeners"]
    if listeners == 0:
        return {"state": "down", "advice": f"No worker listens on {queue}. Start one."}
    if route["held"] >= route["max_held"]:
        return {"state": "full", "advice": "It holds as many calls as it may. Add workers, or raise max_held."}
    if listeners is not None and route["backlog"] > listeners and route["oldest"] > route["timeout"] / 2:
        return {"state": "slow", "advice": f"Calls wait long for the {listeners} workers of {queue}. Add workers."}
    if trouble is not None:
        return {"state": "failing", "advice": f"Calls end with {trouble}. See the recent problems."}
    if listeners is None:
        return {"state": "unknown", "advice": "The broker does not tell who listens."}
    return {"state": "fine", "advice": ""}
