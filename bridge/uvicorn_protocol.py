"""Uvicorn's HTTP/1.1 on httptools, with two things that it has no settings for. Imported only where it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.server import MAX_HEAD

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_JOIN_UP_TO: Final = 64 * 1024  # bytes of a body; a larger one costs more to copy than to send apart


class BridgeProtocol(HttpToolsProtocol):
    """A bound on a request's head, which only Uvicorn's protocol on h11 has; and a response in one write, not two."""

    unfinished = 0  # bytes of a head that has not ended; those of its first segment count as one

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        super().data_received(data)
        scope: Mapping[str, object] | None = self.scope
        if scope is None or "method" in scope:  # set when a head is complete
            self.unfinished = 0
        elif self.unfinished < MAX_HEAD:
            self.unfinished += len(data) if self.unfinished else 1
        elif not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """See :class:`HttpToolsProtocol`: make the request's cycle, which begins in the loop's next turn."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.scope["method"] != "HEAD":  # whose head has no body to wait for
            self.cycle.transport = cast("asyncio.Transport", HeadWithBody(self.transport))


class HeadWithBody:
    """The transport of one response: its head waits for the body that it announces, and both leave in one write.

    ASGI allows it ("http.response.start" need not be flushed before the first part of the body), and a write is a
    system call and a packet. The head of a body of unknown length leaves at once: nobody knows when the body begins.
    """

    __slots__ = ("_head", "_transport", "_waits")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
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
        self._transport.close()

    def is_closing(self) -> bool:
        """See :class:`asyncio.BaseTransport`."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head:
            self._transport.write(head)
