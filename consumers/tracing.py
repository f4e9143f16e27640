"""A span for each message that a handler works on, in the trace that the message carries.

Needs the extra `tracing`: a worker that does not trace never imports this, and its handlers are as they were.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span

from activemq.errors import MessageError, ProtocolError
from activemq.spans import ERROR_TYPE, attributes_of, context_of, properties_of
from consumers.reply import RefusedError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import TracerProvider

    from consumers.handler import Handler
    from consumers.request import Request

_TROUBLE: Final = 500


class Tracing:
    """Makes the spans of a worker; ``provider`` decides which are kept, by default those of traces that are sampled."""

    def __init__(self, provider: TracerProvider, version: str) -> None:
        self._tracer = provider.get_tracer("consumers", version)

    def traced(self, queue: str, handler: Handler, kind: Callable[[], str]) -> Handler:
        """Return a handler that does the same within a span, which is the current one meanwhile.

        The span is a child of the message's, and linked to it: the conventions want the link, and allow the parent
        where there is one message. ``kind`` tells the broker's.
        """

        async def run(request: Request) -> Reply:
            parent = context_of(_carried(request))
            sender = get_current_span(parent).get_span_context()
            with self._tracer.start_as_current_span(
                f"process {queue}",
                parent,
                SpanKind.CONSUMER,
                attributes_of(kind(), "process", queue, request.correlation_id),
                [Link(sender)] if sender.is_valid else None,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                _note_attempt(span, request)
                request.trace = properties_of(span)
                return await _worked(span, handler, request)

        return run


def _carried(request: Request) -> Mapping[str, str]:
    try:
        return request.trace
    except ProtocolError:  # somebody else's header with an escape that there is not: no reason to fail the call
        return {}


def _note_attempt(span: Span, request: Request) -> None:
    with suppress(MessageError):  # somebody else's message, that says nonsense: the handler may do without it too
        span.set_attribute("mqbridge.attempt", request.attempt)


async def _worked(span: Span, handler: Handler, request: Request) -> Reply:
    """Run the handler and say how it ended; what it raises is raised."""
    try:
        reply = Reply.of(await handler(request))
    except RefusedError as refused:
        _tell(span, refused.reply)
        raise
    except asyncio.CancelledError:
        span.set_attribute("mqbridge.outcome", "cancelled")  # its call is over, or the worker leaves: nobody's fault
        raise
    except BaseException as error:
        span.record_exception(error)
        span.set_attribute(ERROR_TYPE, type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR))
        raise
    _tell(span, reply)
    return reply


def _tell(span: Span, reply: Reply) -> None:
    status = reply.status
    span.set_attribute("http.response.status_code", status)
    if status >= _TROUBLE:
        span.set_attribute(ERROR_TYPE, str(status))
        span.set_status(Status(StatusCode.ERROR))
