"""A bridge with a store, a worker that does as it is told, and a clock that tests can set."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self

from bridge.settings import Admin, Route, Store
from tests.bridge.callers import Caller, Response, until
from tests.bridge.callers import request as encoded
from tests.bridge.harness import ToldWorker, running, settings_for, sqlite

ASYNC = ("Prefer", "respond-async")
DAY_MS = 24 * 3_600 * 1_000
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def key(value: str) -> tuple[str, str]:
    return ("Idempotency-Key", value)


class World:
    """One or two bridges of one store."""

    def __init__(self, bridges: list[Any], worker: ToldWorker, queue: Any) -> None:
        self.bridges = bridges
        self.bridge = bridges[0]
        self.worker = worker
        self.queue = queue

    async def get(self, path: str | None, *, wait: int | None = None, at: int = 0, **options: Any) -> Response:
        headers = () if wait is None else (("Prefer", f"wait={wait}"),)
        return await self.bridges[at].call(path, None, method="GET", headers=headers, **options)

    async def delete(self, path: str | None, at: int = 0) -> Response:
        return await self.bridges[at].call(path, None, method="DELETE")

    async def post(self, target: str = "/echo", body: bytes = b"x", *headers: tuple[str, str], at: int = 0) -> Response:
        return await self.bridges[at].call(target, body, headers=headers)

    def begin(self, target: str = "/echo", body: bytes = b"x", *headers: tuple[str, str], at: int = 0) -> asyncio.Task:
        return asyncio.create_task(self.post(target, body, *headers, at=at))

    async def accepted(self, target: str = "/echo", body: bytes = b"x", *headers: tuple[str, str]) -> str:
        """Make a job; return where it is."""
        response = await self.post(target, body, *(headers or (ASYNC,)))
        assert response.status == 202, response
        return str(response.get("location"))

    async def request(self, name: str = "echo") -> Any:
        return await self.worker.request(self.queue(name))

    async def forget(self) -> None:
        """Throw away the messages that earlier tests have left, those that are still on their way included."""
        for name in {route.queue for route in routes_for(self.queue)}:
            await self.worker.send(f"/queue/{name}", {"priority": "0", "mark": "1"}, b"", text=True)
            while (await self.worker.request(name)).get("mark") is None:
                pass

    async def finished(self, body: bytes = b"done", **properties: Any) -> tuple[str, Any]:
        """Make a job and have it answered; return where it is and its request message."""
        location = await self.accepted()
        request = await self.request()
        await self.worker.reply(request, body, **properties)
        await self.is_over(location)
        return location, request

    async def is_over(self, location: str, at: int = 0) -> dict[str, Any]:
        response = await self.get(location, wait=15, at=at)
        assert response.get("job-state") not in ("queued", "running"), response
        return dict(json.loads(response.body))

    async def tell(self, request: Any, kind: str, body: bytes = b"", **properties: Any) -> None:
        """Say something of a job before its reply; JSON unless something else is said."""
        properties.setdefault("content_type", "application/json")
        await self.worker.reply(request, body, reply_kind=kind, **properties)

    async def begun(self, name: str = "parts") -> tuple[str, Any]:
        """Make a job whose events can be read; return where it is and its request message."""
        location = await self.accepted(f"/{name}")
        return location, await self.request(name)

    def follow(self, location: str, after: int | str | None = None, at: int = 0) -> Reader:
        """Read a job's events: ``async with world.follow(...) as reader``."""
        return Reader(self.bridges[at].port, location + "/events", after)

    def set_clock(self, ahead_ms: float) -> None:
        """Move the time of all bridges, from what it is now."""
        for bridge in self.bridges:
            bridge.bridge.jobs.client.clock.offset_ms += ahead_ms

    async def nothing_was_sent(self) -> None:
        """No request message has gone out: one that is sent now is the first to come."""
        for name in ("echo", "always", "never", "required", "off", "quick"):
            assert self.worker.waiting(self.queue(name)) == 0


class Reader:
    """Reads a stream of events, one after the other."""

    def __init__(
        self, port: int, target: str, after: int | str | None = None, headers: tuple[Any, ...] = (), method: str = "GET"
    ) -> None:
        given = () if after is None else (("Last-Event-ID", str(after)),)
        body = None if method == "GET" else b"x"
        self._request = encoded(target, body, method=method, headers=(*headers, *given, ("Connection", "close")))
        self._port = port
        self._text = b""
        self._caller: Caller
        self.head = b""
        self.comments = 0

    async def __aenter__(self) -> Self:
        self._caller = await Caller.connect(self._port)
        await self._caller.send(self._request)
        self.head = (await self._caller.raw_until(b"\r\n\r\n")).lower()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._caller.close()

    async def next(self) -> tuple[str, int | None, Any]:
        """The next event: kind, id, data. Asserts that the stream goes on."""
        while True:
            while b"\n\n" not in self._text:
                size = int(await self._caller.raw_until(b"\r\n"), 16)
                assert size, "the stream has ended"
                self._text += await self._caller.raw_exactly(size)
                await self._caller.raw_until(b"\r\n")
            block, _, self._text = self._text.partition(b"\n\n")
            if block.startswith(b":"):
                self.comments += 1
                continue
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
            number = int(fields[b"id"]) if b"id" in fields else None
            return fields[b"event"].decode(), number, json.loads(fields[b"data"])

    async def rest(self) -> list[tuple[str, int | None, Any]]:
        """All events up to the end of the stream."""
        found = []
        with suppress(AssertionError):
            while True:
                found.append(await self.next())
        assert not self._text, self._text
        return found


def routes_for(queue: Any) -> list[Route]:
    common = {"timeout": 10.0, "pass_reply_headers": ("cache-control", "etag"), "pass_headers": ("accept-language",)}
    return [
        Route(name="echo", path="/echo", queue=queue("echo"), methods=frozenset({"POST", "PUT"}), **common),
        Route(name="other", path="/other", queue=queue("echo"), **common),
        Route(name="always", path="/always", queue=queue("always"), async_="always", **common),
        Route(name="never", path="/never", queue=queue("never"), async_="never", **common),
        Route(name="required", path="/required", queue=queue("required"), idempotency="required", **common),
        Route(name="off", path="/off", queue=queue("off"), idempotency="off", **common),
        Route(name="quick", path="/quick", queue=queue("quick"), timeout=0.4, job_timeout=600.0, redeliver=False),
        Route(name="parts", path="/parts", queue=queue("parts"), stream=True, **common),
        Route(name="told", path="/told", queue=queue("told"), stream=True, started="always", **common),
        Route(name="silent", path="/silent", queue=queue("silent"), stream=True, started="never", timeout=0.5),
        Route(name="small", path="/small", queue=queue("small"), timeout=5.0, max_reply=10),
    ]


@asynccontextmanager
async def a_world(
    broker: Any,
    queue: Any,
    implementation: str = "uvicorn",
    *,
    bridges: int = 1,
    admin: Admin | None = None,
    **options: Any,
):
    """Serve with ``bridges`` bridges of one store, and a worker; ``admin``: [admin], ``options`` as in settings_for."""
    routes = routes_for(queue)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        options.setdefault("store", Store(url=sqlite(folder)))
        worker = await stack.enter_async_context(ToldWorker(broker, *{route.queue for route in routes}))
        settings = settings_for(broker, routes, **options).model_copy(update={"admin": admin or Admin()})
        served = [await stack.enter_async_context(running(settings, implementation)) for _ in range(bridges)]
        await until(lambda: all(one.bridge.jobs.ready for one in served), "the jobs are ready")
        yield World(served, worker, queue)
