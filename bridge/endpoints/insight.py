"""``/-/api/history``, ``/-/api/problems``, ``/-/api/calls/{id}``: what was, for the operator."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.figures.histogram import percentile
from bridge.figures.history import STEP
from bridge.presence import UNKNOWN
from bridge.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from bridge.endpoints.gate import Gate
    from bridge.figures.history import History, RouteStep
    from bridge.figures.ledger import Ended, Ledger

_NO_STORE: Final = {"cache-control": "no-store"}
_SHARES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def insight_routes(history: History, ledger: Ledger, clock: Callable[[], float], gate: Gate) -> list[Route]:
    """Return the pages; ``gate`` knows the operator, ``clock`` is the loop's, seconds."""

    async def past(request: Request) -> Response:
        gate.check_admin(request)
        steps = [
            {
                "at": _wall(step.at, clock),
                "seconds": round(step.seconds, 3),
                "routes": {name: _step(route) for name, route in step.routes.items()},
            }
            for step in history.steps()
        ]
        return JSONResponse({"step_seconds": STEP, "steps": steps}, headers=_NO_STORE)

    async def problems(request: Request) -> Response:
        gate.check_admin(request)
        return JSONResponse({"problems": [_call(ended, clock) for ended in ledger.problems()]}, headers=_NO_STORE)

    async def call(request: Request) -> Response:
        gate.check_admin(request)
        ended = ledger.find(request.path_params["id"])
        if ended is None:
            raise Problem("no-route", "no call of this id is among those that are kept")
        return JSONResponse(_call(ended, clock), headers=_NO_STORE)

    return [
        Route("/-/api/history", past, methods=["GET"]),
        Route("/-/api/problems", problems, methods=["GET"]),
        Route("/-/api/calls/{id}", call, methods=["GET"]),
    ]


def _step(step: RouteStep) -> dict[str, Any]:
    return {
        "outcomes": dict(step.outcomes),
        **{name: percentile(step.took, share) for name, share in _SHARES},
        "held": step.held,
        "backlog": step.unanswered,
        "listeners": None if step.listeners == UNKNOWN else step.listeners,
    }


def _call(ended: Ended, clock: Callable[[], float]) -> dict[str, Any]:
    return {
        "correlation_id": ended.correlation_id,
        "route": ended.route or None,
        "caller": ended.caller or None,
        "trace_id": ended.trace_id or None,
        "method": ended.method,
        "path": ended.path.decode("latin-1"),
        "status": ended.status or None,
        "received": _wall(ended.at, clock),
        "outcome": ended.outcome,
        "detail": ended.detail or None,
        "attempt": ended.attempt or None,
        "sent_after_ms": _ms(ended.sent),
        "queue_ms": ended.queue_ms,
        "work_ms": ended.work_ms,
        "answered_after_ms": _ms(ended.took),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1_000, 3)


def _wall(at: float, clock: Callable[[], float]) -> str:
    """Return the moment ``at`` of the loop's clock as RFC 3339, UTC."""
    moment = datetime.fromtimestamp(time.time() - (clock() - at), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
