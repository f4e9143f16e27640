"""One socket to a broker: an ``asyncio.Protocol`` around the state machine.

What is written within one turn of the loop leaves in one write: with many calls in flight that is the difference
between one system call and one packet a call and one for dozens (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, cast

from activemq.errors import (
    ActiveMQError,
    BufferFullError,
    ConnectFailedError,
    ConnectionLostError,
    LocalProtocolError,
    NotConnectedError,
    RemoteProtocolError,
)
from activemq.frames import MIB, reason_of
from activemq.protocol import State, Stomp

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from activemq.frames import Frame

log = logging.getLogger(__name__)

HIGH_WATER: Final = 1 * MIB
LOW_WATER: Final = 256 * 1024

# ActiveMQ's STOMP connectors leave Nagle's algorithm on: the second of two small frames in a row (RECEIPT, MESSAGE)
# waits 40 ms for our delayed ACK unless we acknowledge at once. Linux forgets the option after use, so it is set again
# after each read (measured: 23 -> 2,800 request-replies a second on a stock connector). It sends a packet of its own
# (5 µs), so not where an answer is about to leave, which carries the acknowledgement along.
_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)


class Channel(Protocol):
    """What a client needs of a connection; see :class:`Connection` for what each does."""

    closed: asyncio.Future[None]

    @property
    def server(self) -> str: ...
    @property
    def version(self) -> str: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    async def close(self, timeout: float = 2.0) -> None: ...
    def abort(self, error: Exception) -> None: ...
    def give_up(self, error: Exception) -> None: ...


class Connection(asyncio.Protocol):
    """A connection that is, or was, up. Made by :meth:`open`.

    ``on_frame`` is called on the loop for each frame; if it raises, the connection is closed with that error, since
    nobody can know what else is then wrong. ``on_lost`` is called once, with what ended it.
    """

    def __init__(
        self,
        stomp: Stomp,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[Exception], None],
        max_buffered: int = 64 * MIB,
    ) -> None:
        self.stomp = stomp
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._max_buffered = max_buffered
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._flush_is_due = False
        self._queued = 0  # bytes queued in this turn of the loop
        self._writable = asyncio.Event()
        self._writable.set()
        self._beat: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        stomp: Stomp,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[Exception], None],
        *,
        tls: ssl.SSLContext | None = None,
        max_buffered: int = 64 * MIB,
        timeout: float = 5.0,
    ) -> Connection:
        """Connect and log in; return once the broker has said CONNECTED.

        ``timeout`` in seconds covers all of it. Raises :class:`ConnectFailedError`; ``on_lost`` is not called then.
        """
        loop = asyncio.get_running_loop()
        where = f"{host}:{port}"
        try:
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(
                    lambda: cls(stomp, on_frame, on_lost, max_buffered), host, port, ssl=tls
                )
                try:
                    await connection.greeted
                except BaseException:  # also if CONNECTED came in the very turn that we were cancelled in
                    connection.give_up(ConnectFailedError(f"{where}: not connected"))
                    raise
        except TimeoutError:
            raise ConnectFailedError(f"{where} did not answer CONNECT within {timeout:g} s") from None
        except OSError as error:
            is_plain = isinstance(error, ConnectionError) and error.errno  # else the number is a resolver's or TLS's
            reason = os.strerror(error.errno or 0) if is_plain else error.strerror or str(error)
            raise ConnectFailedError(f"{where}: {reason}") from error
        except (ConnectionLostError, RemoteProtocolError) as error:
            raise ConnectFailedError(f"{where}: {error}") from error
        return connection

    # -- what the owner calls

    def write(self, data: bytes) -> None:
        """Queue one encoded frame; it leaves with all others of this turn of the loop.

        Raises, with nothing queued, :class:`NotConnectedError` if the connection is not up, or not any more, and
        :class:`BufferFullError` if the broker has stopped reading and ``max_buffered`` bytes wait already.
        """
        if self._queued + len(data) > self._max_buffered - self.unsent:
            raise BufferFullError(f"{self._max_buffered} bytes wait for a broker that does not read")
        try:
            self.stomp.send(data)
        except LocalProtocolError as error:  # it is closing: the owner hears of it only in the loop's next turn
            raise NotConnectedError(str(error)) from None
        self._queued += len(data)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    async def drain(self) -> None:
        """Wait until the peer reads again, if what waits for it is above the high watermark."""
        if not self._writable.is_set():
            await self._writable.wait()
        if self._error is not None:
            raise self._error

    async def close(self, timeout: float = 2.0) -> None:
        """DISCONNECT, wait for its receipt for at most ``timeout`` seconds, and close."""
        if self.stomp.state is State.CONNECTED:
            self.stomp.disconnect(receipt="disconnect")
            self._flush()
            try:
                async with asyncio.timeout(timeout):
                    await asyncio.shield(self.closed)
            except TimeoutError:
                pass  # a broker that does not answer a good-bye is left without one
            finally:
                self.abort(ConnectionLostError("closed by us"))
        await asyncio.shield(self.closed)

    def abort(self, error: Exception) -> None:
        """Close at once; what is queued is thrown away."""
        if self._error is None:
            self._error = error
        self.stomp.state = State.CLOSED
        if self._transport is not None:
            self._transport.abort()

    def give_up(self, error: Exception) -> None:
        """:meth:`abort` before anybody has the connection: ``on_lost`` is not called."""
        self._on_lost = lambda _: None
        self.abort(error)

    def cut(self) -> None:
        """End the connection now, from any thread and whatever the loop does: for a process that is about to end.

        The broker sees it although a child of the process may hold the socket open, too.
        """
        sock = self._socket
        with suppress(OSError):  # it is gone already
            if sock is not None:  # uvloop's stand-in for a socket cannot be shut down itself
                with socket.socket(fileno=os.dup(sock.fileno())) as same:
                    same.shutdown(socket.SHUT_RDWR)

    @property
    def server(self) -> str:
        """What the broker calls itself."""
        return self.stomp.server

    @property
    def version(self) -> str:
        """The version of STOMP."""
        return self.stomp.version

    @property
    def unsent(self) -> int:
        """Bytes that the operating system has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    # -- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are none of asyncio's classes.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        self._socket = transport.get_extra_info("socket")
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._quick_ack()
        self.stomp.connect(self._loop.time())
        self._flush()

    def data_received(self, data: bytes) -> None:
        stomp = self.stomp
        greeting = stomp.state is State.CONNECTING
        try:
            frames = stomp.receive_data(data, self._loop.time())
            if greeting and frames:
                frames = self._greet(frames)
            for frame in frames:
                self._on_frame(frame)
            self._loop.call_soon(self._quick_ack)  # after those whom a frame has woken
            if stomp.state is State.DISCONNECTING and frames and frames[-1].get("receipt-id") == "disconnect":
                self.abort(ConnectionLostError("closed by us"))
        except ActiveMQError as error:
            self.abort(error)
        except Exception as error:  # see the class: whatever it is, this connection is over
            log.exception("the handler of a frame failed; closing the connection")
            self.abort(error)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = self._error or ConnectionLostError(str(exc) if exc else "closed by the broker")
        self._error = reason
        was_up = self.greeted.done() and not self.greeted.cancelled() and self.greeted.exception() is None
        self.stomp.state = State.CLOSED
        self._socket = None
        if self._beat is not None:
            self._beat.cancel()
        self._writable.set()
        if not self.greeted.done():
            self.greeted.set_exception(reason)
            self.greeted.exception()  # if open() has given up nobody else will look
        if not self.closed.done():
            self.closed.set_result(None)
        if was_up:
            self._on_lost(reason)

    # -- inside

    def _greet(self, frames: list[Frame]) -> list[Frame]:
        """Take the answer to CONNECT off the frames."""
        first, *rest = frames
        if first.command == "ERROR":
            where = self.stomp.credentials.where
            advice = f" Is the login right? See {where}" if where else ""
            raise ConnectionLostError(f"the broker refused the connection: {reason_of(first)}{advice}")
        if self.greeted.done():
            raise ConnectionLostError("gave up waiting for CONNECTED")
        self.greeted.set_result(None)
        self._schedule_beat()
        return rest

    def _flush(self) -> None:
        self._flush_is_due = False
        self._queued = 0
        data = self.stomp.data_to_send(self._loop.time())
        # One that closes sends nothing more, and uvloop's raises once it is closed.
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _quick_ack(self) -> None:
        if _QUICKACK is not None and self._socket is not None and not self._flush_is_due:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _schedule_beat(self) -> None:
        pause = self.stomp.heartbeat_pause
        if pause:
            self._beat = self._loop.call_later(pause, self._on_beat)

    def _on_beat(self) -> None:
        if not self.stomp.heartbeat(self._loop.time()):
            self.abort(ConnectionLostError(f"no sign of life for {self.stomp.expect_every:g} s and more"))
            return
        self._flush()
        self._schedule_beat()
