"""What the bridge is doing, for its operator: the JSON of ``/-/api/status`` and what ``/-/ready`` adds to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bridge.presence import UNKNOWN

if TYPE_CHECKING:
    from bridge.admission import Admission
    from bridge.listening import Place
    from bridge.presence import Queue
    from bridge.routing import Router, ServedRoute


def status_of(
    *, now: float, place: Place, connected: bool, told: bool, admission: Admission, router: Router
) -> dict[str, Any]:
    """Return the state of the bridge as JSON can hold it.

    ``now``: the loop's time, seconds; ``connected``: to the broker; ``told``: whether the broker tells who listens.
    """
    return {
        "process": {"number": place.number, "of": place.of, "pid": os.getpid()},
        "ready": connected and not admission.draining,
        "broker": {"connected": connected, "presence": told},
        "draining": admission.draining,
        "held": admission.held,
        "body_memory": admission.memory,
        "routes": [_route(route, now) for route in router.routes],
    }


def _route(route: ServedRoute, now: float) -> dict[str, Any]:
    queue, counts = route.queue, route.counts
    came = next(iter(counts.since.values()), None)
    return {
        "name": route.settings.name,
        "queue": queue.name,
        "held": counts.held,
        "oldest_held_seconds": None if came is None else round(now - came, 3),
        "listeners": _listeners(queue),
        "backlog": queue.unanswered,
        "max_backlog": route.settings.max_backlog,
        "answered": counts.answered,
        "answers_per_second": round(queue.pace.rate(), 3),
    }


def _listeners(queue: Queue) -> int | None:
    return None if queue.listeners == UNKNOWN else queue.listeners
