"""Spans of calls: one for the HTTP call, one for sending its message, whose context goes along with it.

Needs the extra `tracing`: a bridge that does not trace never imports this, and a call there pays for looking four
times whether it is None.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from activemq.spans import CONVERSATION, ERROR_TYPE, attributes_of, context_of, properties_of
from bridge.figures.route import CALLER_GONE
from bridge.settings.fields import METHODS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from opentelemetry.trace import Span, TracerProvider

    from activemq.subscriptions import OnReceipt
    from bridge.asgi import Scope
    from bridge.figures.ledger import Ended
    from bridge.jobs.posting import Posting
    from bridge.routing import ServedRoute

_TROUBLE: Final = 500
_PATH: Final = 200  # bytes; as in the ledger
_NOT_SENT: Final = frozenset({"broker-unavailable", "broker-lost"})


class Tracing:
    """Makes the spans of a bridge. ``provider`` has the sampler; a caller's own decision goes along with its trace."""

    def __init__(self, provider: TracerProvider, version: str) -> None:
        self._tracer = provider.get_tracer("bridge", version)

    def begin(
        self, scope: Scope, route: ServedRoute | None, came: Iterable[tuple[str, str]], age: float = 0.0
    ) -> CallTrace:
        """Begin the span of a call that arrived ``age`` seconds ago; ``came``: its trace context, checked."""
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        attributes: dict[str, str] = {
            "http.request.method": method,
            "url.path": scope["raw_path"][:_PATH].decode("latin-1"),
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope["http_version"],
        }
        name = "HTTP" if method == "_OTHER" else method
        if route is not None:
            attributes["http.route"] = route.settings.path
            name = f"{name} {route.settings.path}"
        span = self._tracer.start_span(
            name,
            context_of(dict(came)),
            SpanKind.SERVER,
            attributes,
            start_time=time.time_ns() - round(age * 1e9),
            record_exception=False,
        )
        return CallTrace(span, self._send)

    def _send(self, call: Span, attributes: dict[str, str]) -> Span:
        name = f"send {attributes['messaging.destination.name']}"
        return self._tracer.start_span(name, set_span_in_context(call), SpanKind.PRODUCER, attributes)


class CallTrace:
    """The spans of one call."""

    __slots__ = ("_call", "_handed_on", "_message", "_send")

    def __init__(self, call: Span, send: Callable[[Span, dict[str, str]], Span]) -> None:
        self._call = call
        self._send = send
        self._message: Span | None = None
        self._handed_on = False

    @property
    def sampled(self) -> str:
        """The trace's id, 32 hex digits, if it is sampled; else empty."""
        context = self._call.get_span_context()
        return f"{context.trace_id:032x}" if context.trace_flags.sampled else ""

    def sends(self, kind: str, queue: str, correlation_id: str) -> list[tuple[str, str]]:
        """Begin to send the message; return the properties that it has to carry. ``kind``: the broker's."""
        self._message = self._send(self._call, attributes_of(kind, "send", queue, correlation_id))
        return list(properties_of(self._message).items())

    def handed_on(self, on_receipt: OnReceipt) -> OnReceipt:
        """Note that the message goes to the broker now; return what hears of its receipt, and tells ``on_receipt``."""
        self._handed_on = True
        return partial(self._confirmed, on_receipt)

    def submitted(self, posting: Posting | None) -> None:
        """Note that a job's message is on its way; None: the call joins a job that was there, and sends nothing."""
        if posting is None:
            self._message = None  # a span that never ends is told to nobody
        else:
            self._handed_on = True
            posting.confirmed.add_done_callback(self._is_posted)

    def _is_posted(self, confirmed: asyncio.Future[Exception | None]) -> None:
        error = None if confirmed.cancelled() else confirmed.result()
        self._end_message(None if error is None else type(error).__name__)

    def _confirmed(self, on_receipt: OnReceipt, correlation_id: str, error: Exception | None) -> None:
        self._end_message(None if error is None else type(error).__name__)
        on_receipt(correlation_id, error)

    def _end_message(self, error: str | None) -> None:
        span, self._message = self._message, None
        if span is not None:
            if error is not None:
                _fail(span, error)
            span.end()

    def end(self, ended: Ended) -> None:
        """End them. An error is what is ours or the worker's: 5xx (HTTP conventions, server spans)."""
        outcome = ended.outcome
        if self._handed_on or outcome in _NOT_SENT:
            self._end_message(outcome if outcome in _NOT_SENT else None)
        span = self._call
        if span.is_recording():
            span.set_attribute(CONVERSATION, ended.correlation_id)
            span.set_attribute("mqbridge.outcome", outcome)
            if ended.attempt:
                span.set_attribute("mqbridge.attempt", ended.attempt)
            for name, value in (("queue_ms", ended.queue_ms), ("work_ms", ended.work_ms)):
                if value is not None:
                    span.set_attribute(f"mqbridge.{name}", value)
            if ended.status:
                span.set_attribute("http.response.status_code", ended.status)
            if ended.status >= _TROUBLE:
                _fail(span, str(ended.status) if outcome == "5xx" else outcome)
            elif outcome == CALLER_GONE:
                span.set_attribute(ERROR_TYPE, outcome)
        span.end()


def _fail(span: Span, error: str) -> None:
    span.set_attribute(ERROR_TYPE, error)
    span.set_status(Status(StatusCode.ERROR))
