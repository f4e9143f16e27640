"""A load generator of our own, for machines without wrk: keep-alive connections, one request at a time on each.

It only finds the end of each response and looks at its status, on raw transports: a tenth of what a bridge does with
a call. Its own CPU is in the table.
"""

from __future__ import annotations

import asyncio
import os
import re
from itertools import count
from time import perf_counter
from typing import cast

from bench.children import loops
from bench.children.channel import Channel
from bench.latency import Load, summary

CLOSE = re.compile(rb"\nconnection: *close", re.IGNORECASE)
LENGTH = re.compile(rb"\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Run:
    """One load; ``end`` is when no new request is begun any more."""

    def __init__(self, request: bytes, end: float, *, keyed: bool) -> None:
        self._request = request
        self._keys = count() if keyed else None
        self._prefix = os.urandom(8).hex()
        self.end = end
        self.latencies: list[float] = []
        self.failed = 0

    def request(self) -> bytes:
        """Return the next request."""
        if self._keys is None:
            return self._request
        head, end, body = self._request.partition(b"\r\n\r\n")
        return b"%b\r\nIdempotency-Key: %b-%d%b%b" % (head, self._prefix.encode(), next(self._keys), end, body)


class Caller(asyncio.Protocol):
    """One connection; ``closed`` is set at its end."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        length = LENGTH.search(data, 0, end) if end >= 0 else None
        if length is None or len(data) < end + 4 + int(length[1]):
            self._buffer = data
            return
        self._buffer = b""
        now = perf_counter()
        self._run.latencies.append(now - self._sent)
        if data[9:12] != b"200":
            self._run.failed += 1
        if now < self._run.end and CLOSE.search(data, 0, end) is None:
            self._send()
        elif self._transport is not None:
            self._sent = 0.0
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        if self._sent:  # a request without its answer
            self._run.failed += 1
        self.closed.set()

    def _send(self) -> None:
        self._sent = perf_counter()
        assert self._transport is not None
        self._transport.write(self._run.request())


async def call(run: Run, port: int) -> None:
    """Call until the end, over another connection when the server has closed one (Hypercorn does after 1,000 calls)."""
    loop = asyncio.get_running_loop()
    while perf_counter() < run.end:
        _, caller = await loop.create_connection(lambda: Caller(run), "127.0.0.1", port)
        await caller.closed.wait()


async def load(port: int, path: str, connections: int, size: int, seconds: int, keyed: bool = False) -> Load:
    """POST ``size`` bytes over that many connections for that many seconds."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    request = f"{head}Content-Length: {size}\r\n\r\n".encode() + b"x" * size
    started = perf_counter()
    run = Run(request, started + seconds, keyed=keyed)
    await asyncio.gather(*(call(run, port) for _ in range(connections)))
    return summary(run.latencies, perf_counter() - started, run.failed)


async def main() -> None:
    """Load on command until the parent is gone."""
    Channel().ready({"load": load})
    await asyncio.Event().wait()


if __name__ == "__main__":
    loops.run(main())
