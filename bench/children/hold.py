"""Callers that wait: thousands of connections, one request on each, and when each had its answer."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import cast

from bench.children import loops
from bench.children.channel import Channel

AT_ONCE = 200  # connections being opened
_LENGTH = re.compile(rb"\ncontent-length: *([0-9]+)", re.IGNORECASE)
_PROBLEM = re.compile(rb'"/problems/([a-z-]+)"')


class Caller(asyncio.Protocol):
    """One held call; ``answered`` is when the whole answer was there, by the monotonic clock."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.answered = 0.0
        self.whole = asyncio.Event()

    @property
    def answer(self) -> str:
        """The problem's name, or the status, or what happened instead."""
        problem = _PROBLEM.search(self._received)
        return problem[1].decode() if problem else self._received[9:12].decode() or "no answer"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if blank and len(body) >= (int(length[1]) if length else 0):
            self.answered = monotonic()
            self.whole.set()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Crowd:
    """All callers of this process."""

    def __init__(self) -> None:
        self._callers: list[Caller] = []

    async def open(self, port: int, path: str, count: int, size: int) -> int:
        """Open ``count`` connections and send a request of ``size`` bytes on each; return how many are open now."""
        loop = asyncio.get_running_loop()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        request = f"{head}Content-Length: {size}\r\n\r\n".encode() + b"x" * size
        for start in range(0, count, AT_ONCE):
            opened = await asyncio.gather(
                *(
                    loop.create_connection(lambda: Caller(request), "127.0.0.1", port)
                    for _ in range(min(AT_ONCE, count - start))
                )
            )
            self._callers += [caller for _, caller in opened]
        return len(self._callers)

    async def abort(self) -> float:
        """Reset all connections at once; return when that began."""
        began = monotonic()
        for caller in self._callers:
            caller.abort()
        self._callers.clear()
        return began

    async def answers(self, within: float) -> dict[str, object]:
        """Wait for at most that many seconds until all have an answer; return which, and when the last one came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                for caller in self._callers:
                    await caller.whole.wait()
        return {
            "answers": Counter(caller.answer for caller in self._callers),
            "last": max(caller.answered for caller in self._callers),
        }


async def main() -> None:
    """Hold on command until the parent is gone."""
    crowd = Crowd()
    Channel().ready({"open": crowd.open, "abort": crowd.abort, "answers": crowd.answers})
    await asyncio.Event().wait()


if __name__ == "__main__":
    loops.run(main())
