"""An open load: requests leave when they are due, whatever became of those before, as from callers who do not know.

A closed loop cannot overload: it waits for its answers.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from time import perf_counter
from typing import cast

from bench.children import loops
from bench.children.channel import Channel
from bench.children.load import CLOSE, LENGTH
from bench.latency import percentile

TICK = 0.002  # seconds
PATIENCE = 30.0  # seconds for the last answers


class Caller(asyncio.Protocol):
    """One connection: a request at a time, measured from when it was due."""

    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._buffer = b""
        self._due = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes

    def call(self, request: bytes, due: float) -> None:
        assert self.transport is not None
        self._due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        length = LENGTH.search(data, 0, end) if end >= 0 else None
        if length is None or len(data) < end + 4 + int(length[1]):
            self._buffer = data
            return
        self._buffer = b""
        due, self._due = self._due, 0.0
        self._flood.answered(data[9:12].decode(), perf_counter() - due)
        if CLOSE.search(data, 0, end) is None:
            self._flood.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        if self._due:
            self._flood.answered("no answer", perf_counter() - self._due)


class Flood:
    """One load and what came back."""

    def __init__(self) -> None:
        self.idle: deque[Caller] = deque()
        self._latencies: dict[str, list[float]] = {}
        self._open = 0

    def answered(self, status: str, took: float) -> None:
        self._open -= 1
        self._latencies.setdefault(status, []).append(took)

    async def run(self, port: int, connections: int, request: bytes, rate: float, seconds: float) -> dict[str, object]:
        loop = asyncio.get_running_loop()
        opened = [await loop.create_connection(lambda: Caller(self), "127.0.0.1", port) for _ in range(connections)]
        callers = [caller for _, caller in opened]
        self.idle.extend(callers)
        unsent = await self._send(request, rate, seconds)
        give_up = perf_counter() + PATIENCE
        while self._open and perf_counter() < give_up:  # noqa: ASYNC110 - it also ends with the time
            await asyncio.sleep(TICK)
        unanswered = self._open
        for caller in callers:
            if caller.transport is not None:
                caller.transport.abort()
        counts = Counter({status: len(found) for status, found in self._latencies.items()})
        return {
            "counts": counts,
            "unsent": unsent,
            "unanswered": unanswered,
            "latencies": {status: _summary(found) for status, found in self._latencies.items()},
        }

    async def _send(self, request: bytes, rate: float, seconds: float) -> int:
        """Send what is due, each tick; return how many found no idle connection."""
        started, sent, unsent = perf_counter(), 0, 0
        while (now := perf_counter() - started) < seconds:
            while sent + unsent < now * rate:
                if self.idle:
                    self._open += 1
                    self.idle.popleft().call(request, started + (sent + unsent) / rate)
                    sent += 1
                else:
                    unsent += 1
            await asyncio.sleep(TICK)
        return unsent


def _summary(latencies: list[float]) -> dict[str, float]:
    """Return p50, p99 and the longest, in ms."""
    ordered = sorted(latencies)
    return {"p50": percentile(ordered, 50) * 1_000, "p99": percentile(ordered, 99) * 1_000, "max": ordered[-1] * 1_000}


async def flood(port: int, path: str, connections: int, size: int, rate: float, seconds: float) -> dict[str, object]:
    """POST ``size`` bytes ``rate`` times a second, over at most that many connections."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    request = f"{head}Content-Length: {size}\r\n\r\n".encode() + b"x" * size
    return await Flood().run(port, connections, request, rate, seconds)


async def main() -> None:
    """Flood on command until the parent is gone."""
    Channel().ready({"flood": flood})
    await asyncio.Event().wait()


if __name__ == "__main__":
    loops.run(main())
