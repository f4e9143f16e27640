"""The call's endpoint with everything around it in memory."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

from activemq import Frame
from bridge.access import Access
from bridge.admission import Admission
from bridge.endpoints.call import CallEndpoint, Rules
from bridge.exchange import Exchange
from bridge.figures.book import Book
from bridge.routing import Router, ServedRoute
from bridge.settings import Route, Settings
from bridge.wheel import Wheel


class FakeLink:
    """Instead of the connection to a broker: keeps what is published; ``on_publish`` may answer at once."""

    def __init__(self, exchange):
        self.client = SimpleNamespace(connected=True)
        self.exchange = exchange
        self.published = []
        self.waiting = set()
        self.withdrawn = []
        self.error = None
        self.on_publish = None

    def publish(self, route, held, budget, priority, properties, body, *, text, in_parts=False, trace=None):
        if self.error is not None:
            raise self.error
        assert budget > 0
        self.published.append((held.correlation_id, budget, dict(properties), body))
        self.waiting.add(held.correlation_id)
        if self.on_publish is not None:
            self.on_publish(held)

    def forget(self, held):
        self.waiting.discard(held.correlation_id)

    def withdraw(self, held):
        self.withdrawn.append(held.correlation_id)

    def reply(self, held, body=b"ok", **headers):
        self.exchange.reply(held.correlation_id, Frame.of("MESSAGE", headers, body))


class FakeLookout:
    """Says what a test wants said about who listens."""

    def __init__(self):
        self.is_nobody = True
        self.comes = False
        self.asked = 0

    async def nobody(self, queue):
        self.asked += 1
        await asyncio.sleep(0)
        return self.is_nobody

    async def first_worker(self, queue, timeout):
        await asyncio.sleep(timeout)
        return self.comes


class Bench:
    """An endpoint with everything around it in memory."""

    def __init__(self, settings=None, **rules):
        self.wheel = Wheel(tick=0.01)
        self.wheel.start()
        self.exchange = Exchange(self.wheel)
        self.admission = Admission(10, 10_000)
        self.link = FakeLink(self.exchange)
        self.route = ServedRoute(Route(name="r", path="/r", queue="r", timeout=5.0, max_body=5_000))
        quick = ServedRoute(Route(name="quick", path="/quick", queue="r", timeout=0.05))
        tells = ServedRoute(Route(name="tells", path="/tells", queue="r", started="always"))
        rules = Rules(**{"body_timeout": 5.0, "publish_timeout": 5.0, "public_url": "", **rules})
        self.waits = ServedRoute(Route(name="waits", path="/waits", queue="r", worker_wait=0.05), self.route.queue)
        self.route.queue.put(1)
        self.lookout = FakeLookout()
        self.access = Access(settings or Settings())
        router = Router([self.route, quick, tells, self.waits])
        self.app = CallEndpoint(
            rules, self.access, Book(), router, self.exchange, self.admission, self.link, self.lookout, None
        )

    def is_clean(self):
        state = [len(self.exchange), len(self.wheel), self.admission.held, self.admission.memory]
        queues = [self.route.queue.unanswered, len(self.route.counts.since), len(self.waits.counts.since)]
        return [*state, *queues, self.route.counts.held, len(self.link.waiting)] == [0] * 9


def scope(path="/r", *headers, length=None, version="1.1"):
    lines = [(b"host", b"localhost"), *headers]
    if length is not None:
        lines.append((b"content-length", b"%d" % length))
    return {
        "type": "http",
        "http_version": version,
        "method": "POST",
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": lines,
    }


class Conversation:
    """Receive and send of one ASGI call; ``stall_at``: the number of the await that never ends."""

    def __init__(self, *chunks, stall_at=None, then_leave=False):
        self.sent = []
        self._incoming = [
            {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
            for number, chunk in enumerate(chunks or (b"",))
        ]
        self._then_leave = then_leave
        self._stall_at = stall_at
        self.awaits = 0
        self.stalled = asyncio.Event()

    async def _may_stall(self):
        if self.awaits == self._stall_at:
            self.stalled.set()
            await asyncio.Event().wait()
        self.awaits += 1

    async def receive(self):
        if not self._incoming:
            if self._then_leave:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        await self._may_stall()
        return self._incoming.pop(0)

    async def send(self, message):
        await self._may_stall()
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def body(self):
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def problem(self):
        return json.loads(self.body)


async def serve(bench, conversation, **options):
    await bench.app(scope(**options), conversation.receive, conversation.send)
    return conversation
