"""The load generator: calls over kept connections, each with a nonce of its own, and what became of each.

It only finds the end of each response and the little that the checker has to know: 10⁶ calls share two cores with all
that they are about.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bench.children import loops
from bench.children.channel import Channel
from tests.faults.history import CLOSED, LEFT, NONE, OPEN, SECOND, Call, Extra, Journal, Result, now
from tests.faults.recorder import nonce_in, sealed

LENGTH = re.compile(rb"\ncontent-length: *([0-9]+)", re.IGNORECASE)
CLOSES = re.compile(rb"\nconnection: *close", re.IGNORECASE)
ID = re.compile(rb"\ncorrelation-id: *([0-9a-f]{32})", re.IGNORECASE)
STATE = re.compile(rb"\njob-state: *([a-z]+)", re.IGNORECASE)
PROBLEM = re.compile(rb'"/problems/([a-z-]+)"')
RAN = re.compile(rb'"ran": *"([a-z]+)"')
FINAL = (b"done", b"failed", b"expired", b"cancelled")
FLUSH_EVERY = 0.25  # seconds
AFTER_REFUSAL = (0.2, 0.6)  # seconds; who was refused does not come again at once
AFTER_CLOSE = (0.02, 0.1)


@dataclass
class Plan:
    """What is called how often: shares of a thousand, the rest are held calls. Times in ms.

    ``timeout``: of the route, seconds; ``hang`` waits for a second at most, and no handler of it ever answers;
    ``hold``: none of all calls is ever answered, and all wait for so many seconds; ``size``: bytes of a body.
    """

    connections: int = 64
    job: int = 10
    keyed: int = 5
    persistent: int = 20
    unauthorised: int = 5
    leave: int = 5
    slow: int = 50
    slow_ms: int = 20
    hang: int = 0
    size: int = 0
    hold: int = 0
    timeout: int = 20


@dataclass
class Pending:
    """A call that has no answer yet."""

    nonce: str
    kind: str
    timeout: int
    sent: int = 0
    how: str = NONE  # it ended: a status, or a problem


@dataclass
class Stats:
    ended: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)


class Load:
    """All callers of this process."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        folder = Path(configuration["folder"])
        number = configuration["number"]
        self.journal = Journal(folder / f"load-{number}.journal")
        self.ports: dict[str, int] = configuration["ports"]
        self.key: str = configuration["key"]
        self.wrong_key: str = configuration["wrong_key"]
        self.plan = Plan()
        self.stats = Stats()
        self.calling = False
        self.callers: set[Caller] = set()
        self.jobs: list[tuple[str, str, str]] = []  # nonce, id, bridge
        self._prefix = f"n-{os.urandom(4).hex()}-{number}-"
        self._count = 0
        self._tasks: list[asyncio.Task[None]] = []

    # -- what is said

    def next_call(self) -> tuple[Pending, bytes]:
        """Make another call: what it is, and its request."""
        self._count += 1
        plan, dice = self.plan, random.randrange(1_000)
        nonce = sealed(f"{self._prefix}{self._count}")
        kind, headers, path = "held", "", "/echo"
        for name in ("job", "keyed", "persistent", "unauthorised"):
            dice -= getattr(plan, name)
            if dice < 0:
                kind = name
                break
        if kind == "job":
            headers = "Prefer: respond-async\r\n"
        elif kind == "keyed":
            headers = f"Idempotency-Key: {nonce}\r\n"
        elif kind == "persistent":
            path = "/safe"
        what, timeout = self._work(), plan.timeout
        if kind in ("held", "persistent") and (plan.hold or random.randrange(1_000) < plan.hang):
            what, timeout = "hang", plan.hold or 1
            headers = f"Prefer: wait={timeout}\r\n"
        body = f"{nonce} {what}"
        body += " " * (plan.size - len(body))
        key = self.wrong_key if kind == "unauthorised" else self.key
        request = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{headers}"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        self.stats.kinds[kind] += 1
        return Pending(nonce, kind, timeout * SECOND), request.encode()

    def _work(self) -> str:
        dice = random.randrange(1_000)
        if dice < self.plan.slow:
            return f"work {self.plan.slow_ms}"
        return "echo"

    def over(self, call: Pending, bridge: str, status: int, head: bytes = b"", body: bytes = b"") -> None:
        """Write down what became of a call."""
        problem, ran, echoed = NONE, NONE, NONE
        if status == 200:
            echoed = nonce_in(body)
        elif status > 299 and (found := PROBLEM.search(body)):
            problem = found[1].decode()
            said = RAN.search(body)
            ran = said[1].decode() if said else NONE
        identified = ID.search(head)
        correlation_id = identified[1].decode() if identified else NONE
        if status == 202:
            self.jobs.append((call.nonce, correlation_id, bridge))
        call.how = problem if problem != NONE else str(status)
        self.stats.ended[call.how] += 1
        self.journal.add(
            Call(call.nonce, call.kind, bridge, call.sent, now(), status, problem, ran, echoed, correlation_id,
                 call.timeout)
        )  # fmt: skip

    # -- commands

    async def start(self, **plan: Any) -> None:
        """Begin to call, or go on with another plan; half of the connections at each bridge."""
        self.plan = Plan(**plan)
        if self.calling:
            return
        self.calling = True
        names = list(self.ports)
        self._tasks = [
            asyncio.create_task(self._call_at(names[number % len(names)])) for number in range(self.plan.connections)
        ]

    async def stop(self, within: float) -> None:
        """Begin nothing more, and wait until all have their answers; what has none by then is written down as open."""
        self.calling = False
        done, waiting = await asyncio.wait(self._tasks, timeout=within) if self._tasks else ((), ())
        for task in (*done, *waiting):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for caller in tuple(self.callers):
            caller.give_up()
        self._tasks = []
        self.journal.flush()

    async def totals(self) -> dict[str, Any]:
        """How the calls have ended, and of which kinds they were."""
        return {"ended": self.stats.ended, "kinds": self.stats.kinds}

    async def counts(self) -> dict[str, int]:
        """How the calls have ended until now."""
        return dict(self.stats.ended)

    async def leave(self, number: int) -> None:
        """Have so many callers go at once."""
        for caller in random.sample(sorted(self.callers, key=id), min(number, len(self.callers))):
            caller.leave()

    async def special(
        self, what: str, number: int, at_once: int, wait: int, within: float, bridge: str | None = None
    ) -> dict[str, int]:
        """Call so often for ``what``, at a bridge or any; wait for so many seconds each; return how they ended."""
        limit = asyncio.Semaphore(at_once)

        async def one() -> str:
            async with limit:
                return await self._one(what, wait, within, bridge or random.choice(list(self.ports)))

        return dict(Counter(await asyncio.gather(*(one() for _ in range(number)))))

    async def collect(self, within: float) -> int:
        """Fetch the results of all jobs, from any bridge; return how many have none in time."""
        jobs, self.jobs = self.jobs, []
        end = asyncio.get_running_loop().time() + within
        limit = asyncio.Semaphore(64)

        async def one(nonce: str, job: str) -> bool:
            async with limit:
                return await self._result(nonce, job, end)

        missing = [await task for task in [asyncio.create_task(one(nonce, job)) for nonce, job, _ in jobs]].count(False)
        self.journal.flush()
        return missing

    # -- connections

    async def _call_at(self, bridge: str) -> None:
        while self.calling:
            if await self._connect(bridge, self.next_call) is None:
                await asyncio.sleep(random.uniform(*AFTER_CLOSE))

    async def _connect(self, bridge: str, next_call: Callable[[], tuple[Pending, bytes]]) -> Caller | None:
        loop = asyncio.get_running_loop()
        try:
            _, caller = await loop.create_connection(lambda: Caller(self, bridge, next_call), "127.0.0.1",
                                                     self.ports[bridge])  # fmt: skip
        except OSError:
            return None
        await caller.closed.wait()
        return caller

    async def _one(self, what: str, wait: int, within: float, bridge: str) -> str:
        """Call once, on a connection of its own; return how it ended."""
        self._count += 1
        nonce = sealed(f"{self._prefix}{self._count}")
        body = f"{nonce} {what}"
        request = (
            f"POST /safe HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\nConnection: close\r\n"
            f"Prefer: wait={wait}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.stats.kinds["persistent"] += 1
        call = Pending(nonce, "persistent", wait * SECOND)
        async with asyncio.timeout(within):
            await self._connect(bridge, lambda: (call, request.encode()))
        return call.how

    async def _result(self, nonce: str, job: str, end: float) -> bool:
        loop = asyncio.get_running_loop()
        state, status, problem, echoed = "unknown", 0, NONE, NONE
        while loop.time() < end:
            for port in self.ports.values():
                answer = await _get(port, f"/jobs/{job}/result", self.key)
                head, _, body = answer.partition(b"\r\n\r\n")
                found = STATE.search(head)
                if found is None:
                    continue
                status, state = int(head[9:12]), found[1].decode()
                if found[1] in FINAL:
                    named = PROBLEM.search(body)
                    problem, echoed = named[1].decode() if named else NONE, nonce_in(body)
                    self.journal.add(Result(nonce, job, now(), state, status, problem, echoed))
                    return True
            await asyncio.sleep(0.1)
        self.journal.add(Result(nonce, job, now(), state, status, problem, echoed))
        return False

    async def keep_writing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self.journal.flush()


class Caller(asyncio.Protocol):
    """One connection: a call at a time, until either side closes."""

    def __init__(self, load: Load, bridge: str, next_call: Callable[[], tuple[Pending, bytes]]) -> None:
        self._load = load
        self._bridge = bridge
        self._next_call = next_call
        self._buffer = b""
        self._call: Pending | None = None
        self._last = NONE
        self._leaving: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes
        self._load.callers.add(self)
        self._send()

    def _send(self) -> None:
        load, transport = self._load, self._transport
        assert transport is not None
        if transport.is_closing():
            return
        if not load.calling and self._next_call == load.next_call:
            transport.close()
            return
        self._call, request = self._next_call()
        self._call.sent = now()
        transport.write(request)
        if self._call.kind == "held" and random.randrange(1_000) < load.plan.leave:
            self._leaving = asyncio.get_running_loop().call_later(random.uniform(0.0, 0.2), self.leave)

    def leave(self) -> None:
        """Go without an answer."""
        if self._call is not None and self._transport is not None:
            self._load.over(self._call, self._bridge, LEFT)
            self._call = None
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        call = self._call
        if call is None:
            self._load.journal.add(Extra(self._last, now(), len(data)))
            return
        end = data.find(b"\r\n\r\n")
        length = LENGTH.search(data, 0, end) if end >= 0 else None
        size = end + 4 + int(length[1]) if length else 0
        if length is None or len(data) < size:
            self._buffer = data
            return
        head, body, self._buffer = data[:end], data[end + 4 : size], b""
        self._call, self._last = None, call.nonce
        if len(data) > size:
            self._load.journal.add(Extra(call.nonce, now(), len(data) - size))
        status = int(head[9:12])
        self._load.over(call, self._bridge, status, head, body)
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._next_call != self._load.next_call or CLOSES.search(head):
            assert self._transport is not None
            self._transport.close()
        elif status in (200, 202):
            self._send()
        else:
            asyncio.get_running_loop().call_later(random.uniform(*AFTER_REFUSAL), self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.callers.discard(self)
        if self._leaving is not None:
            self._leaving.cancel()
        if self._call is not None:
            self._load.over(self._call, self._bridge, CLOSED)
            self._call = None
        self.closed.set()

    def give_up(self) -> None:
        """It is the end of the run, and this one has no answer."""
        if self._call is not None:
            self._load.over(self._call, self._bridge, OPEN)
            self._call = None
        if self._transport is not None:
            self._transport.abort()


async def _get(port: int, path: str, key: str) -> bytes:
    """The whole response; nothing if there was none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return b""
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nPrefer: wait=5\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        async with asyncio.timeout(10):
            return await reader.read()
    except (OSError, TimeoutError):
        return b""
    finally:
        writer.close()


async def main() -> None:
    """Call on command until the parent is gone."""
    channel = Channel()
    load = Load(channel.configuration)
    commands = ("start", "stop", "totals", "counts", "leave", "special", "collect")
    channel.ready({name: getattr(load, name) for name in commands})
    await load.keep_writing()


if __name__ == "__main__":
    loops.run(main())
