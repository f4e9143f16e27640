"""Uvicorn's HTTP/1.1 on httptools, with what it has no settings for. Imported only where it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.connections import GIVEN_UP_AFTER, MAX_HEAD, STALLED_FOR

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_JOIN_UP_TO: Final = 64 * 1024  # bytes of a body; a larger one costs more to copy than to send apart


class _Trailers(list[tuple[bytes, bytes]]):
    """Where what follows a chunked body goes: nowhere."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Forget it."""


_TRAILERS: Final = _Trailers()


class BridgeProtocol(HttpToolsProtocol):
    """Bounds on a request's head and on who does not read, and a response in one write, not two.

    Uvicorn [0.54] waits for a head for ever, and for a reader when it closes; it adds trailers to the headers
    (RFC 9110, 6.5.1: they must be kept apart), takes the path out of an absolute target whatever its host is, and
    drops a fragment.
    """

    head_timeout = 10.0  # seconds
    max_connections = 20_000
    unfinished = 0  # bytes of a head that has not ended; those of its first segment count as one
    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn's
        """See :class:`asyncio.Protocol`."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
        else:  # one that says nothing is as one that says nothing more
            self._is_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_head()
        if self._stalled is not None:
            self._stalled.cancel()

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        super().data_received(data)
        scope: Mapping[str, object] | None = self.scope
        if scope is None or "method" in scope:  # set when a head is complete
            if self.unfinished:
                self.unfinished = 0
                self._stop_head()
            if self.cycle is None or self.cycle.response_complete:
                self._is_idle()  # still: a blank line, or what an answered request still says; Uvicorn stops the clock
        elif self.unfinished < MAX_HEAD:
            if not self.unfinished and not self.transport.is_closing():
                self._head = self.loop.call_later(self.head_timeout, self._refuse, _TOO_SLOW)
            self.unfinished += len(data) if self.unfinished else 1
        else:
            self._refuse(_TOO_LARGE)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`; a reader who takes nothing is given up."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_FOR, self.transport.abort)

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _is_idle(self) -> None:
        if not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _refuse(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            close(self.transport, self.loop)

    def send_400_response(self, msg: str) -> None:
        """See :class:`HttpToolsProtocol`: answer what cannot be parsed, and close."""
        super().send_400_response(msg)
        self._stop_head()
        close(self.transport, self.loop)

    def timeout_keep_alive_handler(self) -> None:
        """See :class:`HttpToolsProtocol`: end what is idle, also with an answer that is not read."""
        close(self.transport, self.loop)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: anybody could fill the log."""

    def on_headers_complete(self) -> None:
        """See :class:`HttpToolsProtocol`: make the request's cycle, which begins in the loop's next turn."""
        before = self.cycle
        super().on_headers_complete()
        self.headers = _TRAILERS
        cycle = self.cycle
        if cycle is before:
            return
        if not self.url.startswith(b"/") or b"#" in self.url:
            self.scope["raw_path"] = self.url  # no route has it
        if self.parser.should_upgrade():  # the parser is at its end: what follows it would not read
            cycle.keep_alive = False
        if self.scope["method"] != "HEAD":  # whose head has no body to wait for
            cycle.transport = cast("asyncio.Transport", HeadWithBody(self.transport, self.loop))


def close(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
    """Close a connection once all is sent, or 10 s later, whatever its other side does."""
    transport.close()
    if transport.get_write_buffer_size():
        loop.call_later(GIVEN_UP_AFTER, transport.abort)


class HeadWithBody:
    """The transport of one response: its head waits for the body that it announces, and both leave in one write.

    ASGI allows it ("http.response.start" need not be flushed before the first part of the body), and a write is a
    system call and a packet. The head of a body of unknown length leaves at once: nobody knows when the body begins.
    """

    __slots__ = ("_head", "_loop", "_transport", "_waits")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._waits = True  # for the head

    def write(self, data: bytes) -> None:
        """See :class:`asyncio.WriteTransport`."""
        if self._waits:
            self._waits = data.startswith(b"HTTP/1.1 100 ")
            if b"\r\ncontent-length: " in data:
                self._head = data
            else:
                self._transport.write(data)
        elif self._head and len(data) <= _JOIN_UP_TO:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self._flush()
            self._transport.write(data)

    def close(self) -> None:
        """See :class:`asyncio.BaseTransport`."""
        self._flush()
        close(self._transport, self._loop)

    def is_closing(self) -> bool:
        """See :class:`asyncio.BaseTransport`."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head:
            self._transport.write(head)
