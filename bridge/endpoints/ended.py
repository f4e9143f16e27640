"""What is kept of a call that is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.figures.ledger import Ended

if TYPE_CHECKING:
    from bridge.endpoints.call import Call

_PATH: Final = 200  # bytes that are kept of one: whoever makes paths up must not fill the memory


def ended_of(call: Call, now: float, trace_id: str) -> Ended:
    """Return it; ``now``: the loop's time, seconds; ``trace_id``: of a trace that is sampled, else empty."""
    route, told, scope = call.route, call.told, call.scope
    return Ended(
        call.correlation_id,
        "" if route is None else route.settings.name,
        call.principal.name,
        scope["method"],
        scope["raw_path"][:_PATH],
        call.status,
        call.started,
        None if call.sent is None else call.sent - call.started,
        now - call.started,
        call.outcome,
        call.detail,
        None if told is None else told.queue_ms,
        None if told is None else told.work_ms,
        call.attempt,
        trace_id,
    )
