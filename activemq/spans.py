"""Messages in OpenTelemetry's traces: its messaging conventions, and the W3C context in a message's properties.

Needs the extra `tracing`; who does not trace never imports it. Names are of the semantic conventions for messaging
spans (docs/decisions/0031-tracing.md), which are not stable yet: they are here, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from activemq.message import MAX_PROPERTY, property_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
CONVERSATION: Final = "messaging.message.conversation_id"  # "sometimes called correlation ID"
ERROR_TYPE: Final = "error.type"

_W3C: Final = TraceContextTextMapPropagator()
_SYSTEMS: Final = {"rabbitmq": "rabbitmq"}  # Classic and Artemis are both ActiveMQ to the conventions


def attributes_of(kind: str, operation: str, queue: str, correlation_id: str) -> dict[str, str]:
    """Return what a span says of its message; ``kind``: the broker's, ``operation``: send, process."""
    return {
        "messaging.system": _SYSTEMS.get(kind, "activemq"),
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        CONVERSATION: correlation_id,
    }


def context_of(properties: Mapping[str, str]) -> Context:
    """Return the context that a message or a request carries; an empty one if there is none, or none that is valid."""
    return _W3C.extract(properties, Context())


def properties_of(span: Span) -> dict[str, str]:
    """Return the properties that carry a span's context; a ``tracestate`` that no property can hold is left out."""
    properties: dict[str, str] = {}
    _W3C.inject(properties, set_span_in_context(span, Context()))
    if property_size(properties.get(TRACESTATE, "")) > MAX_PROPERTY:
        del properties[TRACESTATE]
    return properties
