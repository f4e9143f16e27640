"""What a handler gets."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from activemq.message import HEADER_PREFIX, PATH_PREFIX, RequestMessage
from consumers.answer import max_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activemq import Clock


class Request:
    """One request message, for its handler. Nothing of it is read before somebody asks."""

    def __init__(self, message: RequestMessage, clock: Clock) -> None:
        self.message = message
        self.cancelled = False  # the caller is gone: stop as soon as you can; nobody will see the reply
        self.interruptible = True  # a thread is not: it has to look at `cancelled`
        self._clock = clock

    @property
    def body(self) -> bytes:
        """The body, byte for byte."""
        return self.message.body

    def text(self) -> str:
        """Return the body as UTF-8 text; raises UnicodeDecodeError."""
        return self.message.body.decode()

    def json(self) -> Any:  # noqa: ANN401 - JSON can be anything
        """Return the body as JSON; raises ValueError."""
        return from_json(self.message.body)

    @property
    def correlation_id(self) -> str:
        """What joins request, reply and log lines."""
        return self.message.correlation_id or ""

    @property
    def content_type(self) -> str | None:
        """The media type of the body, if the caller said."""
        return self.message.content_type

    @property
    def method(self) -> str:
        """The HTTP method; POST if the requester does not speak HTTP."""
        return self.message.text("http_method") or "POST"

    @property
    def target(self) -> str:
        """The raw path and query of the call, or ``/``."""
        return self.message.text("http_target") or "/"

    @property
    def route(self) -> str | None:
        """The route's name (JMSType)."""
        return self.message.text("type")

    @property
    def caller(self) -> str | None:
        """The authenticated caller's name, if there is one."""
        return self.message.text("caller")

    @property
    def attempt(self) -> int:
        """1 at first, one more each time that a worker was lost."""
        return self.message.attempt

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The request headers that the route passes on, by lower-case name."""
        return {name.replace("_", "-"): value for name, value in self.message.prefixed(HEADER_PREFIX).items()}

    @cached_property
    def path(self) -> Mapping[str, str]:
        """The parameters in the path, by name."""
        return self.message.prefixed(PATH_PREFIX)

    @property
    def trace(self) -> Mapping[str, str]:
        """The W3C trace context: ``traceparent`` and, if there is one, ``tracestate``."""
        found = {name: self.message.text(name) for name in ("traceparent", "tracestate")}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def max_reply(self) -> int:
        """How many bytes the body of the reply may have; more becomes `bad-reply`."""
        return max_reply(self.message)

    def remaining(self) -> float | None:
        """Return the seconds left until nobody waits any more, by the broker's clock; None: no deadline."""
        deadline = self.message.deadline_ms
        return None if deadline is None else (deadline - self._clock.now_ms()) / 1_000

    def __repr__(self) -> str:
        return f"<Request {self.correlation_id} {self.method} {len(self.body)} B>"
