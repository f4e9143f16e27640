"""A bridge with small limits, and what a refusal must look like."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from bridge.problems import TABLE
from bridge.settings import Route
from tests.bridge.callers import Caller
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for

MAX_BODY = 200_000
MAX_MEMORY = 1_000_000


class World:
    def __init__(self, bridge, worker, queue):
        self.bridge = bridge
        self.port = bridge.port
        self.worker = worker
        self.queue = queue("echo")

    async def served(self, target="/echo", body=b"", **options):
        """Make a call that must be served; return its request message and its response."""
        calling = asyncio.create_task(self.bridge.call(target, body, **options))
        message = await self.worker.request(self.queue)
        await self.worker.reply(message, message.body)
        return message, await calling

    async def nothing_was_sent(self):
        """The next message at the broker is that of the next call."""
        message, response = await self.served(body=b"sentinel")
        assert (message.body, response.status) == (b"sentinel", 200)

    async def raw(self, data, *, method="POST"):
        """Send bytes; return the response and whether the connection was closed after it."""
        async with await Caller.connect(self.port) as caller:
            await caller.send(data)
            response = await caller.response(method)
            if response.get("connection") == "close":
                assert await caller.ended() == b""
            return response


@asynccontextmanager
async def refusing(broker, implementation, queue):
    """The world of these tests."""

    def route(name, path, **options):
        return Route(**{"name": name, "path": path, "queue": queue("echo"), "max_body": MAX_BODY, **options})

    routes = [
        route("echo", "/echo", pass_headers=("x-pass",), idempotency="off", async_="never"),
        route("read", "/echo", methods=frozenset({"GET", "PUT"})),
        route("item", "/items/{id}"),
        route("image", "/image", methods=frozenset({"GET", "HEAD", "DELETE"}), accepts=("image/png",)),
        route("png", "/png", accepts=("image/png", "image/jpeg")),
        route("narrow", "/narrow", max_held=1),
        route("jobs", "/maybe-job"),
        route("always", "/always-job", async_="always"),
        route("keyed", "/keyed-job", idempotency="required"),
    ]
    settings = settings_for(broker, routes, store=NO_STORE, body_timeout=0.4, max_held=3, max_body_memory=MAX_MEMORY)
    async with (
        ToldWorker(broker, queue("echo")) as worker,
        running(settings, implementation) as bridge,
    ):
        yield World(bridge, worker, queue)


def check(response, name, *, ran="no", instance="/echo", **extra):
    """Hold a problem against the table and the contract."""
    row = TABLE[name]
    problem = response.problem
    assert (response.status, response.name) == (row.status, name)
    correlation_id = response.get("correlation-id")
    assert len(correlation_id) == 32
    detail = problem.pop("detail")
    assert isinstance(detail, str)
    assert detail
    assert problem == {
        "type": f"/problems/{name}",
        "title": row.title,
        "status": row.status,
        "instance": instance,
        "correlation_id": correlation_id,
        "ran": ran,
        **extra,
    }
    assert response.get("cache-control") == "no-store"
    assert response.get("server-timing").startswith("bridge;dur=")
    assert (response.get("retry-after") is not None) == (response.status == 503)
