"""A TCP proxy that can do to a connection what networks do: stall, cut, reset, delay, throttle, slice, corrupt.

toxiproxy, which the catalogue names, neither corrupts bytes nor cuts behind the N-th, and nothing but a proxy of ours
sees where a frame ends, so this is both (docs/decisions/0027-faults.md).
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from tests.faults.recorder import Recorder

Way = Literal["up", "down", "both"]  # up: from the client to the broker
HIGH = 256 * 1024  # bytes that wait for a side that does not read, before the other one is not read either
TICK = 0.01  # seconds
MILLION = 1_000_000


@dataclass(frozen=True)
class Trouble:
    """What is done to bytes. All of it can be combined; nothing of it is the default.

    ``stall``: they wait; ``delay``, ``jitter``: seconds; ``rate``: bytes a second; ``slices``: each byte by itself;
    ``cut_after``: bytes that still come through before the connection is reset; ``flip``, ``nul``: how many of a
    million chunks have a bit flipped, or a NUL put in; ``twice``: how many of them come twice, which no network
    does but a defect.
    """

    stall: bool = False
    delay: float = 0.0
    jitter: float = 0.0
    rate: int = 0
    slices: bool = False
    cut_after: int | None = None
    flip: int = 0
    nul: int = 0
    twice: int = 0

    @property
    def spoils(self) -> bool:
        """Whether what arrives is not what was sent."""
        return bool(self.flip or self.nul)


NO_TROUBLE = Trouble()


@dataclass
class Cut:
    """Reset a connection behind the N-th byte of the next frame that way that begins with ``mark`` and has ``holds``.

    Frames that come in several pieces are left alone. ``done`` gets the frame's size.
    """

    way: Way
    mark: bytes
    holds: bytes
    after: int
    done: asyncio.Future[int]

    def find(self, data: bytes) -> tuple[int, int]:
        """Return where such a frame begins and ends; -1 twice if there is none."""
        at = data.find(self.mark)
        while at >= 0:
            end = data.find(b"\0", at)
            if end < 0:
                break
            if self.holds in data[at:end]:
                return at, end + 1
            at = data.find(self.mark, end)
        return -1, -1


class Side(asyncio.Protocol):
    """One end of a connection: what it receives goes into its pipe."""

    def __init__(self, pair: Pair, way: Literal["up", "down"]) -> None:
        self.pair = pair
        self.way = way
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pair.opened(self)

    def data_received(self, data: bytes) -> None:
        self.pair.received(self.way, data)

    def eof_received(self) -> bool:
        self.pair.ended(self.way)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.pair.lost(self.way)

    def pause_writing(self) -> None:
        self.pair.pause(self.way, paused=True)

    def resume_writing(self) -> None:
        self.pair.pause(self.way, paused=False)


class Pipe:
    """What flows in one direction."""

    def __init__(self, write: Callable[[bytes], None], end: Callable[[], None], reset: Callable[[], None]) -> None:
        self.trouble = NO_TROUBLE
        self.waiting: deque[tuple[float, bytes]] = deque()  # when it may go on, and what
        self.size = 0
        self._write, self._end, self._reset = write, end, reset
        self._allowed = 0.0  # bytes, of the rate
        self._until_cut: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_ending = False
        self._closed = False

    def set(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self._until_cut = trouble.cut_after
        if trouble is NO_TROUBLE:  # what still waits for its time goes now
            self.waiting = deque((0.0, data) for _, data in self.waiting)
        self._pump()

    def put(self, data: bytes) -> None:
        trouble = self.trouble
        if trouble is NO_TROUBLE and not self.waiting:
            self._write(data)
            return
        if trouble.spoils:
            data = corrupted(data, trouble, random)
        if random.random() * MILLION < trouble.twice:
            data += data
        due = 0.0
        if trouble.delay:
            due = asyncio.get_running_loop().time() + trouble.delay + random.uniform(-trouble.jitter, trouble.jitter)
            if self.waiting:
                due = max(due, self.waiting[-1][0])
        self.waiting.append((due, data))
        self.size += len(data)
        self._pump()

    def end(self) -> None:
        """The sender has no more to say."""
        self._is_ending = True
        self._pump()

    def close(self) -> None:
        self._closed = True
        self.waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _pump(self) -> None:
        """Let go on what may; look again later if something waits for its time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self.waiting and not self._closed and not self.trouble.stall and self.waiting[0][0] <= loop.time():
            if not self._let_go():
                break
        if self._closed:
            return
        if self.waiting and not self.trouble.stall:
            pause = 0.0 if self.trouble.slices else max(self.waiting[0][0] - loop.time(), TICK)
            self._timer = loop.call_later(pause, self._tick, loop.time())
        elif self._is_ending and not self.waiting:
            self._end()

    def _tick(self, since: float) -> None:
        self._timer = None
        if self.trouble.rate:
            passed = asyncio.get_running_loop().time() - since
            self._allowed = min(self._allowed + passed * self.trouble.rate, float(self.trouble.rate))
        self._pump()

    def _let_go(self) -> bool:
        """Write as much of the first piece as may be; False if that was all for now."""
        due, data = self.waiting.popleft()
        size = len(data)
        if self.trouble.slices:
            size = 1
        elif self.trouble.rate:
            size = min(size, int(self._allowed))
            self._allowed -= size
        if self._until_cut is not None:
            size = min(size, self._until_cut)
            self._until_cut -= size
        if size:
            self._write(data[:size])
            self.size -= size
        if self._until_cut == 0:
            self._reset()
            return False
        if size < len(data):
            self.waiting.appendleft((due, data[size:]))
            return False
        return True


def corrupted(data: bytes, trouble: Trouble, chance: Any) -> bytes:
    """The bytes with a bit flipped or a NUL put in, or as they are, by chance."""
    changed = bytearray(data)
    if chance.random() * MILLION < trouble.flip:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    if chance.random() * MILLION < trouble.nul:
        changed.insert(chance.randrange(len(changed) + 1), 0)
    return bytes(changed)


class Pair:
    """A client's connection and ours to the broker."""

    def __init__(self, link: Link, recorder: Recorder) -> None:
        self.link = link
        self.recorder = recorder
        self.client = Side(self, "up")
        self.broker = Side(self, "down")
        self.up = Pipe(lambda data: self._write(self.broker, data), lambda: self._finish(self.broker), self.reset)
        self.down = Pipe(lambda data: self._write(self.client, data), lambda: self._finish(self.client), self.reset)
        self.connecting: asyncio.Task[None] | None = None
        self.connected = False

    def opened(self, side: Side) -> None:
        if side is self.client:
            self.link.pairs.add(self)
            self.up.set(Trouble(stall=True))  # a pause_reading() this early is not heard by uvloop
            self.connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.broker, "127.0.0.1", self.link.to)
        except OSError:
            self.reset()
            return
        self.connected = True
        self.apply(self.link.trouble_up, self.link.trouble_down)

    def apply(self, up: Trouble, down: Trouble) -> None:
        if up.spoils or down.spoils:
            self.recorder.spoil()
        if not self.connected:
            return
        self.up.set(up)
        self.down.set(down)

    def received(self, way: str, data: bytes) -> None:
        pipe = self.up if way == "up" else self.down
        cut = self.link.cut
        if cut is not None and cut.way == way:
            self._look_for(cut, pipe, data)
        (self.recorder.from_client if way == "up" else self.recorder.from_broker)(data)
        pipe.put(data)
        self._hold_back()

    def _look_for(self, cut: Cut, pipe: Pipe, data: bytes) -> None:
        at, end = cut.find(data)
        if at < 0:
            return
        self.link.cut = None
        pipe.set(Trouble(cut_after=at + cut.after))
        if not cut.done.done():
            cut.done.set_result(end - at)

    def _hold_back(self) -> None:
        """Read no more of a side whose bytes wait: it is to feel that nobody takes them."""
        for side, pipe in ((self.client, self.up), (self.broker, self.down)):
            if side.transport is None or side.transport.is_closing():
                continue
            if pipe.size > HIGH and side.transport.is_reading():
                side.transport.pause_reading()
                asyncio.get_running_loop().call_later(TICK, self._let_in, side, pipe)

    def _let_in(self, side: Side, pipe: Pipe) -> None:
        if side.transport is None or side.transport.is_closing():
            return
        if pipe.size > HIGH:
            asyncio.get_running_loop().call_later(TICK, self._let_in, side, pipe)
        else:
            side.transport.resume_reading()

    def pause(self, way: str, *, paused: bool) -> None:
        """A side does not take what we write: read no more of the other."""
        other = self.broker if way == "up" else self.client
        if other.transport is not None and not other.transport.is_closing():
            (other.transport.pause_reading if paused else other.transport.resume_reading)()

    def ended(self, way: str) -> None:
        (self.up if way == "up" else self.down).end()

    def lost(self, way: str) -> None:
        """One side is gone. The other learns of it when all that was on its way has come, and not in a stall."""
        (self.down if way == "up" else self.up).close()
        self.ended(way)
        if all(side.transport is None or side.transport.is_closing() for side in (self.client, self.broker)):
            self.close()

    def _write(self, side: Side, data: bytes) -> None:
        if side.transport is not None and not side.transport.is_closing():
            side.transport.write(data)

    def _finish(self, side: Side) -> None:
        if side.transport is not None and not side.transport.is_closing():
            side.transport.close()

    def reset(self) -> None:
        """Both sides get a RST."""
        for side in (self.client, self.broker):
            if side.transport is not None and not side.transport.is_closing():
                sock = side.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                side.transport.abort()
        self.close()

    def close(self) -> None:
        self.up.close()
        self.down.close()
        for side in (self.client, self.broker):
            if side.transport is not None and not side.transport.is_closing():
                side.transport.close()
        self.link.pairs.discard(self)


class Link:
    """A port of the proxy's, for one client: all of its connections share their trouble."""

    def __init__(self, to: int, make_recorder: Callable[[], Recorder]) -> None:
        self.to = to
        self.port = 0
        self.pairs: set[Pair] = set()
        self.trouble_up = self.trouble_down = NO_TROUBLE
        self.cut: Cut | None = None
        self._make_recorder = make_recorder
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Listen; return the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Pair(self, self._make_recorder()).client, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    def set(self, trouble: Trouble, way: Way = "both") -> None:
        """Do this from now on to all that flows that way, and nothing to the other unless it is both."""
        self.trouble_up = trouble if way != "down" else NO_TROUBLE
        self.trouble_down = trouble if way != "up" else NO_TROUBLE
        for pair in tuple(self.pairs):
            pair.apply(self.trouble_up, self.trouble_down)

    def reset(self) -> None:
        """Reset all of its connections."""
        for pair in tuple(self.pairs):
            pair.reset()

    async def close(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()
        for pair in tuple(self.pairs):
            pair.close()
