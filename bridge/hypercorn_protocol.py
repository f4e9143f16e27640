"""Hypercorn's connections with what it has no settings for. Imported only where it is run.

Each class says what Hypercorn 0.18 (on h11 0.16 and h2 4.4) does of itself; all of it was seen in runs of
tests/bridge/hardening. What is refused and why: docs/http-hardening.md.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import h11
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamReset
from h2.exceptions import ProtocolError
from h11._receivebuffer import ReceiveBuffer
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, StreamClosed
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, H2Protocol, StreamBuffer
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from bridge.access.access import CERTIFICATE
from bridge.connections import GIVEN_UP_AFTER, MAX_HEAD, STALLED_FOR, Bucket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import MethodType
    from typing import Any

    from h2.events import Event as H2Event
    from hypercorn.events import Event as ServerEvent
    from hypercorn.protocol.events import Event
    from hypercorn.typing import ASGIReceiveEvent

# A line that ends in LF alone, a CR that ends no line, and a line that goes on (RFC 9112, 2.2 and 5.2).
_BAD_LINES: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]")
_LENGTHS: Final = re.compile(rb"\n(?i:content-length)[ \t]*:([^\r]*)")
_CHUNK: Final = re.compile(rb"[0-9A-Fa-f]{1,16}(?:[ \t]*;[^\r\n]*)?\r\n")
_PATH: Final = re.compile(rb"[!-~]+")
_BUFFERED: Final = 64 * 1024  # bytes; asyncio's high-water mark, below which a write is not waited for


class BridgeConfig(Config):
    """Hypercorn's settings and ours; ``head_timeout`` in seconds, ``connections``: those that are open now."""

    head_timeout: float
    max_connections: int
    connections = 0


class StrictBuffer(ReceiveBuffer):
    """What has been received of a connection; refuses a head and a chunk's line that others may read differently.

    h11 takes LF for CRLF, folded lines, equal lengths said twice, and CR within a chunk's line.
    """

    _taken = bytearray()

    def _extract(self, count: int) -> bytearray:
        self._taken = super()._extract(count)
        return self._taken

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Take a whole head, or the trailers of a body. Raises :class:`h11.RemoteProtocolError`."""
        lines = super().maybe_extract_lines()
        if lines is None:
            return None
        taken = self._taken
        if len(taken) > MAX_HEAD:
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        if _BAD_LINES.search(taken):
            raise h11.RemoteProtocolError("a line does not end as a line does")
        lengths = _LENGTHS.findall(taken)
        if len(lengths) > 1 or b"," in b"".join(lengths):
            raise h11.RemoteProtocolError("more than one Content-Length")
        return lines

    def maybe_extract_next_line(self) -> bytearray | None:
        """Take the line before a chunk. Raises :class:`h11.RemoteProtocolError`."""
        line = super().maybe_extract_next_line()
        if line is not None and not _CHUNK.fullmatch(line):
            raise h11.RemoteProtocolError("no chunk's line")
        return line


class BridgeStream(HTTPStream):
    """A request that may be answered before it is read.

    Hypercorn has ten parts of a body wait for the app, and tells it behind them that all is over: where nobody reads
    them, the app waits in its own last word for ever, and the connection reads nothing more, not even its end.
    """

    async def handle(self, event: Event) -> None:
        """See :class:`HTTPStream`; once all is over nobody wants what still waits."""
        if isinstance(event, StreamClosed) and self.app_put is not None:
            waiting = cast("asyncio.Queue[ASGIReceiveEvent]", cast("MethodType", self.app_put).__self__)
            while not waiting.empty():
                waiting.get_nowait()
        await super().handle(event)


class StrictHttp1(H11Protocol):
    """HTTP/1.1 without a change to another protocol, and with a bound in time for a request's head.

    Hypercorn offers ``h2c`` to whoever asks, speaks HTTP/2 with prior knowledge whatever its settings are, takes a
    method in lower case for that in upper case, and gives a head as long as an idle connection.
    """

    config: BridgeConfig

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - Hypercorn's
        super().__init__(*arguments)
        # h11 has no public way to give it a buffer.
        cast("h11.Connection", self.connection)._receive_buffer = StrictBuffer()  # noqa: SLF001 - as above
        self._head: asyncio.TimerHandle | None = None

    async def handle(self, event: ServerEvent) -> None:
        """See :class:`H11Protocol`."""
        await super().handle(event)
        self._time_head(unfinished=isinstance(event, RawData) and self._has_part_of_a_head())

    def _has_part_of_a_head(self) -> bool:
        return self.connection.their_state is h11.IDLE and bool(self.connection.trailing_data[0])

    def _time_head(self, *, unfinished: bool) -> None:
        if unfinished and self._head is None:
            loop = asyncio.get_running_loop()
            self._head = loop.call_later(self.config.head_timeout, self.task_group.spawn, self._refuse_head)
        elif not unfinished and self._head is not None:
            self._head.cancel()
            self._head = None

    async def _refuse_head(self) -> None:
        await self._send_error_response(408)
        await self.send(Closed())

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method == b"PRI" and "h2" in self.config.alpn_protocols:
            if list(event.headers):
                raise h11.RemoteProtocolError("no preface has headers")
            await super()._check_protocol(event)

    async def _create_stream(self, request: h11.Request) -> None:
        # At once: what comes behind the request is handled before handle() ends, and may wait for its answer.
        self._time_head(unfinished=False)
        self.stream = BridgeStream(
            *(self.app, self.config, self.context, self.task_group, self.ssl, self.client, self.server),
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1


class BoundedBuffer(StreamBuffer):
    """What waits to be sent of one stream.

    Hypercorn's own lets a sender go on whenever little is taken out of it: also when nothing is, for want of room at
    the reader's.
    """

    async def pop(self, max_length: int) -> bytes:
        """See :class:`StreamBuffer`."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_HIGH_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class StrictHttp2(H2Protocol):
    """HTTP/2 where no stream can harm another, and none is left when its connection has ended.

    Hypercorn ends the connection for a path that is not ASCII, for CONNECT, and for data of a stream that is over. It
    lets callers open and reset as many streams as they like (CVE-2023-44487). Of a response that was not finished it
    forgets the stream without a word, so that the caller waits for its end for ever; and what still waited to send
    when a connection ended, or for a reader who gives no window, waits for ever too.
    """

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - Hypercorn's
        super().__init__(*arguments)
        self._resets = Bucket()

    async def handle(self, event: ServerEvent) -> None:
        """See :class:`H2Protocol`."""
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()

    async def _handle_events(self, events: Sequence[H2Event]) -> None:
        resets = sum(isinstance(event, StreamReset) for event in events)
        if resets and not self._resets.take(resets, asyncio.get_running_loop().time()):
            self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            await self._flush()
            await self.send(Closed())
            return
        for event in events:
            if self._is_to_be_handled(event):
                await super()._handle_events([event])
        await self._flush()
        if not self.streams:  # Hypercorn starts this clock only where a stream ends by its answer
            await self.send(Updated(idle=True))

    def _is_to_be_handled(self, event: H2Event) -> bool:
        if isinstance(event, RequestReceived) and not _can_be_served(event):
            with suppress(ProtocolError):  # it may be reset already
                self.connection.send_headers(event.stream_id, [(b":status", b"400")], end_stream=True)
            return False
        if isinstance(event, DataReceived) and event.stream_id not in self.streams:
            self._acknowledge(event)
            return False
        return True

    def _acknowledge(self, event: DataReceived) -> None:
        with suppress(ProtocolError):  # the stream is over: its share of the connection's window matters
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    async def stream_send(self, event: Event) -> None:
        """See :class:`H2Protocol`."""
        number = event.stream_id
        buffer = self.stream_buffers.get(number)
        if isinstance(event, StreamClosed) and buffer is not None and not buffer.complete:
            with suppress(ProtocolError):  # the caller was quicker
                self.connection.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
                await self._flush()
            await buffer.close()  # who waits for room has it now
            await self._window_updated(number)  # the sending task finds it closed, and forgets it
        if not isinstance(event, (Body, EndBody)):
            await super().stream_send(event)
            return
        given_up = asyncio.get_running_loop().call_later(
            STALLED_FOR, self.task_group.spawn, self.stream_send, StreamClosed(number)
        )
        try:
            await super().stream_send(event)
        finally:
            given_up.cancel()


def _can_be_served(request: RequestReceived) -> bool:
    pseudo = cast("dict[bytes, bytes]", dict(request.headers))  # bytes: header_encoding is None
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    return method != b"CONNECT" and method.isupper() and _PATH.fullmatch(path) is not None


class BoundedServer(TCPServer):
    """A connection that is given up when its other side takes nothing any more, and one too many is not taken.

    Hypercorn waits for such a reader for ever, also to end the connection; and keeps one that its caller has ended
    until it would have been idle for too long. It has no TLS extension: the caller's certificate is put into ASGI's
    state.
    """

    config: BridgeConfig

    async def run(self) -> None:
        """See :class:`TCPServer`."""
        if self.config.connections >= self.config.max_connections:
            self.writer.transport.abort()
            return
        self.config.connections += 1
        self.state = type(self.state)(dict(self.state))  # all connections are given the same one
        tls = self.writer.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        if certificate is not None:  # verified: the context asks for that
            self.state[CERTIFICATE] = certificate
        try:
            await super().run()
        finally:
            self.config.connections -= 1

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()  # else the connection that has ended is kept for as long as an idle one

    async def protocol_send(self, event: ServerEvent) -> None:
        """See :class:`TCPServer`; what is not taken in time ends the connection."""
        if isinstance(event, RawData) and self.writer.transport.get_write_buffer_size() + len(event.data) > _BUFFERED:
            given_up = self.loop.call_later(STALLED_FOR, self.writer.transport.abort)
            try:
                await super().protocol_send(event)
            finally:
                given_up.cancel()
        else:
            await super().protocol_send(event)

    async def _close(self) -> None:
        given_up = self.loop.call_later(GIVEN_UP_AFTER, self.writer.transport.abort)
        try:
            await super()._close()
        finally:
            given_up.cancel()
