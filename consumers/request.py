"""What a handler gets."""

from __future__ import annotations

import asyncio
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

from activemq.message import HEADER_PREFIX, PATH_PREFIX, RequestMessage
from consumers.answer import max_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activemq import Clock
    from consumers.notices import Notices


# W3C Trace Context, 3.2, as far as it is looked at here: whoever goes on with a trace reads the rest.
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class Request:
    """One request message, for its handler. Nothing of it is read before somebody asks."""

    def __init__(self, message: RequestMessage, clock: Clock, notices: Notices | None = None) -> None:
        """``notices``: how to tell the requester something before the reply; None: there is no way."""
        self.message = message
        self._notices = notices
        self._loop = asyncio.get_running_loop() if notices else None
        self.cancelled = False  # the caller is gone: stop as soon as you can; nobody will see the reply
        self._trace: Mapping[str, str] | None = None
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
        """The W3C trace context to go on with: ``traceparent`` and, if there is one, ``tracestate``.

        Where the worker traces it is that of its own span, else the message's.
        """
        if self._trace is not None:
            return self._trace
        found = {name: self.message.text(name) for name in ("traceparent", "tracestate")}
        return {name: value for name, value in found.items() if value is not None}

    @trace.setter
    def trace(self, context: Mapping[str, str]) -> None:
        self._trace = context

    @property
    def trace_id(self) -> str:
        """The trace's id for log lines, 32 hex digits; empty if there is none."""
        came = self.message.frame.raw("traceparent") if self._trace is None else self._trace.get("traceparent")
        found = _TRACEPARENT.match(came or "")
        return found[1] if found else ""

    @property
    def max_reply(self) -> int:
        """How many bytes the body of the reply may have; more becomes `bad-reply`."""
        return max_reply(self.message)

    def progress(self, value: Any) -> None:  # noqa: ANN401 - JSON can be anything
        """Tell the caller how far the work has come: any JSON value of at most 64 KiB; raises ValueError over that.

        From an async handler or from a thread; does nothing for a requester that did not ask. May be lost on the way.
        """
        if self._notices is None or self._loop is None or not self._notices.wanted("progress"):
            return
        if self.interruptible:
            self._notices.progress(value)
        else:
            asyncio.run_coroutine_threadsafe(_called(self._notices.progress, value), self._loop).result()

    async def chunk(
        self,
        data: Any,  # noqa: ANN401 - see Reply.of
        *,
        content_type: str | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a part of the answer to a caller that takes it in parts; waits while the broker does not read.

        ``status``, ``content_type`` and ``headers`` of the first chunk are those of a response that is streamed.
        """
        if self._notices is not None:
            await self._notices.chunk(data, content_type, status, headers)

    def chunk_from_thread(self, data: Any, **head: Any) -> None:  # noqa: ANN401 - as chunk()
        """Do what :meth:`chunk` does, for handlers that are plain functions."""
        if self._notices is not None and self._loop is not None and self._notices.wanted("chunk"):
            asyncio.run_coroutine_threadsafe(self.chunk(data, **head), self._loop).result()

    def remaining(self) -> float | None:
        """Return the seconds left until nobody waits any more, by the broker's clock; None: no deadline."""
        deadline = self.message.deadline_ms
        return None if deadline is None else (deadline - self._clock.now_ms()) / 1_000

    def __repr__(self) -> str:
        return f"<Request {self.correlation_id} {self.method} {len(self.body)} B>"


async def _called(function: Callable[[Any], None], value: Any) -> None:  # noqa: ANN401 - JSON can be anything
    function(value)
