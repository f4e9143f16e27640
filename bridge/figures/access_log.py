"""A call's line in the log: what it was, how it ended, how long it took. No body, no query, no credential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bridge.figures.ledger import Ended

ANSWERED: Final = "answered"
_BY_WORKERS: Final = frozenset({"2xx", "3xx", "4xx", "5xx", "worker-failed", "bad-reply"})


def phase_of(ended: Ended) -> str:
    """Return how far a call had come when it was over: refused, sent, running or answered.

    ``sent``: no worker is known to have begun; most of them only tell with their reply.
    """
    if ended.outcome in _BY_WORKERS:
        return ANSWERED
    if ended.sent is None:
        return "refused"
    return "running" if ended.attempt else "sent"


class Line:
    """The line for people; made only if somebody reads it."""

    __slots__ = ("_ended",)

    def __init__(self, ended: Ended) -> None:
        self._ended = ended

    def __str__(self) -> str:
        ended = self._ended
        parts = [
            ended.method,
            _path(ended.path),
            str(ended.status or "-"),
            ended.outcome,
            f"{ended.took * 1_000:.1f}ms",
        ]
        phase = phase_of(ended)
        if phase != ANSWERED:
            parts.append(f"phase={phase}")
        for name, value in (("queue", ended.queue_ms), ("work", ended.work_ms)):
            if value is not None:
                parts.append(f"{name}={value:.1f}ms")
        if ended.attempt > 1:
            parts.append(f"attempt={ended.attempt}")
        if ended.caller:
            parts.append(f"caller={ended.caller}")
        if ended.trace_id:
            parts.append(f"trace={ended.trace_id}")
        parts.append(ended.correlation_id)
        return " ".join(parts)


def fields_of(ended: Ended) -> dict[str, Any]:
    """Return the same for programs; times in ms. What is not known is left out."""
    fields: dict[str, Any] = {
        "method": ended.method,
        "path": _path(ended.path),
        "status": ended.status or None,
        "outcome": ended.outcome,
        "phase": phase_of(ended),
        "duration_ms": round(ended.took * 1_000, 3),
        "queue_ms": ended.queue_ms,
        "work_ms": ended.work_ms,
        "route": ended.route or None,
        "caller": ended.caller or None,
        "attempt": ended.attempt or None,
        "correlation_id": ended.correlation_id,
        "trace_id": ended.trace_id or None,
        "detail": ended.detail or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _path(path: bytes) -> str:
    """Return it with all that could be taken for something else in a line escaped."""
    return path.decode("ascii", "backslashreplace").encode("unicode_escape").decode("ascii")
