"""The call's endpoint by itself, without a server or a broker: every way out of it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from activemq import Frame
from activemq.errors import BufferFullError, NotConnectedError, ServerError
from bridge.admission import Admission
from bridge.endpoints.call import CallEndpoint, Rules
from bridge.exchange import End, Exchange, Refused
from bridge.routing import Router, ServedRoute
from bridge.settings import Route
from bridge.wheel import Wheel
from tests.bridge.callers import until


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

    def publish(self, route, held, budget, priority, properties, body, *, text):
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


class Bench:
    """An endpoint with everything around it in memory."""

    def __init__(self, **rules):
        self.wheel = Wheel(tick=0.01)
        self.wheel.start()
        self.exchange = Exchange(self.wheel)
        self.admission = Admission(10, 10_000)
        self.link = FakeLink(self.exchange)
        self.route = ServedRoute(Route(name="r", path="/r", queue="r", timeout=5.0, max_body=5_000))
        quick = ServedRoute(Route(name="quick", path="/quick", queue="r", timeout=0.05))
        tells = ServedRoute(Route(name="tells", path="/tells", queue="r", started="always"))
        rules = Rules(**{"body_timeout": 5.0, "publish_timeout": 5.0, "public_url": "", "guarded": True, **rules})
        self.app = CallEndpoint(
            rules, Router([self.route, quick, tells]), self.exchange, self.admission, self.link, None
        )

    def is_clean(self):
        state = [len(self.exchange), len(self.wheel), self.admission.held, self.admission.memory]
        return [*state, self.route.held, len(self.link.waiting)] == [0] * 6


@pytest.fixture
async def bench():
    bench = Bench()
    yield bench
    assert bench.is_clean()
    bench.wheel.stop()
    await until(lambda: not any("_see_caller_leave" in repr(task) for task in asyncio.all_tasks()), "no watcher left")


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


# -- cancelled anywhere


CHUNKS = (b"a", b"b", b"c")


async def test_a_whole_call_awaits_each_chunk_and_two_sends(bench):
    """So that the next test can know that it has been everywhere."""
    bench.link.on_publish = bench.link.reply
    conversation = await serve(bench, Conversation(*CHUNKS), length=3)
    assert (conversation.status, conversation.body, conversation.awaits) == (200, b"ok", 5)


@pytest.mark.parametrize("stall_at", range(5))
async def test_cancelled_at_each_await_of_the_conversation_nothing_is_left(bench, stall_at):
    bench.link.on_publish = bench.link.reply
    conversation = Conversation(*CHUNKS, stall_at=stall_at)
    task = asyncio.create_task(serve(bench, conversation, length=3))
    await conversation.stalled.wait()
    assert not bench.is_clean()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.is_clean()


@pytest.mark.parametrize("watched", [False, True])
async def test_cancelled_while_it_is_held_nothing_is_left(bench, watched):
    conversation = Conversation(b"abc")
    task = asyncio.create_task(serve(bench, conversation, length=3))
    await until(lambda: bench.link.published)
    if watched:
        await until(lambda: any("_see_caller_leave" in repr(one) for one in asyncio.all_tasks()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert conversation.sent == []
    assert len(bench.link.withdrawn) == 1


@pytest.mark.parametrize("stall_at", [0, 1])
async def test_cancelled_while_a_problem_is_sent_nothing_is_left(bench, stall_at):
    conversation = Conversation(stall_at=stall_at)
    task = asyncio.create_task(serve(bench, conversation, path="/nothing"))
    await conversation.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- failing anywhere


async def test_a_caller_that_leaves_during_its_body_gets_nothing(bench):
    conversation = Conversation(b"a", then_leave=True)
    conversation._incoming[0]["more_body"] = True
    await serve(bench, conversation, length=3)
    assert conversation.sent == []
    assert bench.link.published == []


async def test_a_caller_that_leaves_while_it_is_held_gets_nothing(bench):
    conversation = await serve(bench, Conversation(b"abc", then_leave=True), length=3)
    assert conversation.sent == []
    assert bench.exchange.counts.ended == 1
    assert len(bench.link.withdrawn) == 1


@pytest.mark.parametrize("fails_at", [0, 1])
async def test_a_server_that_cannot_send_the_answer_is_told_and_nothing_is_left(bench, fails_at, caplog):
    bench.link.on_publish = bench.link.reply
    conversation = Conversation()

    async def send(message):
        if len(conversation.sent) == fails_at:
            raise OSError("gone")
        conversation.sent.append(message)

    with pytest.raises(OSError, match="gone"):
        await bench.app(scope(), conversation.receive, send)


@pytest.mark.parametrize("error", [NotConnectedError("gone"), BufferFullError("full")])
async def test_a_message_that_cannot_be_sent_has_not_run(bench, error):
    bench.link.error = error
    conversation = await serve(bench, Conversation())
    assert (conversation.status, conversation.problem["ran"]) == (503, "no")
    assert conversation.problem["type"] == "/problems/broker-unavailable"


async def test_a_defect_while_publishing_is_a_500(bench, caplog):
    bench.link.error = RuntimeError("the secret cause")
    conversation = await serve(bench, Conversation())
    assert (conversation.status, conversation.problem["ran"]) == (500, "maybe")
    assert "the secret cause" in caplog.text
    assert "secret" not in conversation.body.decode()


# -- time


async def test_a_body_that_takes_longer_than_the_route_has_is_a_504_and_nothing_is_sent(bench):
    conversation = Conversation(b"a", b"b")
    receive = conversation.receive

    async def slowly():
        message = await receive()
        if not message["more_body"]:
            started = bench.app.loop.time()
            await until(lambda: bench.app.loop.time() - started > 0.1)
        return message

    await bench.app(scope("/quick", length=2), slowly, conversation.send)
    assert (conversation.status, conversation.problem["ran"]) == (504, "no")
    assert conversation.problem["phase"] == "unknown"
    assert bench.link.published == []


async def test_the_budget_is_what_the_body_has_left_of_the_time(bench):
    bench.link.on_publish = bench.link.reply
    await serve(bench, Conversation(b"abc"), length=3)
    ((_, budget, _, _),) = bench.link.published
    assert 4.0 < budget <= 5.0


ENDS = {
    # how it ends: status, name, ran; is the message withdrawn?
    End.DEADLINE: (504, "deadline", "maybe", True),
    End.BROKER_LOST: (502, "broker-lost", "maybe", False),
    End.UNCONFIRMED: (503, "broker-unavailable", "maybe", True),
}


@pytest.mark.parametrize("end", ENDS)
async def test_what_ends_a_call_is_said_and_a_message_that_is_left_is_withdrawn(bench, end):
    status, name, ran, withdrawn = ENDS[end]
    bench.link.on_publish = lambda held: held.end(end)
    conversation = await serve(bench, Conversation())
    problem = conversation.problem
    assert (conversation.status, problem["type"], problem["ran"]) == (status, f"/problems/{name}", ran)
    assert bench.link.withdrawn == ([problem["correlation_id"]] if withdrawn else [])


async def test_a_call_that_is_refused_by_the_broker_is_not_withdrawn(bench):
    bench.link.on_publish = lambda held: held.end(Refused(ServerError("java.lang.Secret")))
    conversation = await serve(bench, Conversation())
    assert (conversation.status, conversation.problem["ran"]) == (503, "no")
    assert "Secret" not in conversation.body.decode()
    assert bench.link.withdrawn == []


async def test_a_call_that_is_answered_is_not_withdrawn(bench):
    bench.link.on_publish = bench.link.reply
    assert (await serve(bench, Conversation())).status == 200
    assert bench.link.withdrawn == []


@pytest.mark.parametrize(
    ("path", "attempt", "phase", "ran"),
    [
        ("/r", 0, "unknown", "maybe"),
        ("/r", 1, "running", "yes"),
        ("/r", 3, "running", "yes"),
        ("/tells", 0, "queued", "no"),
        ("/tells", 1, "running", "yes"),
    ],
)
async def test_a_deadline_says_how_far_the_work_had_come(bench, path, attempt, phase, ran):
    def began_and_late(held):
        if attempt:
            bench.exchange.began(held.correlation_id, attempt)
        held.end(End.DEADLINE)

    bench.link.on_publish = began_and_late
    conversation = await serve(bench, Conversation(), path=path)
    assert (conversation.problem["phase"], conversation.problem["ran"]) == (phase, ran)


# -- bodies


async def test_without_a_length_there_is_no_body_in_http_1(bench):
    bench.link.on_publish = bench.link.reply
    conversation = Conversation(stall_at=0)

    async def never():
        raise AssertionError("nobody may wait for a body that cannot come")

    await bench.app(scope(), never, Conversation().send)
    assert conversation.awaits == 0
    assert bench.link.published[0][3] == b""


async def test_in_http_2_a_body_needs_no_length(bench):
    bench.link.on_publish = bench.link.reply
    await serve(bench, Conversation(b"ab", b"c"), version="2")
    assert bench.link.published[0][3] == b"abc"


@pytest.mark.parametrize("size", [4_999, 5_000])
async def test_a_body_up_to_the_limit(bench, size):
    bench.link.on_publish = bench.link.reply
    conversation = await serve(bench, Conversation(b"x" * (size - 1), b"x"), version="2")
    assert (conversation.status, len(bench.link.published[0][3])) == (200, size)


async def test_a_body_over_the_limit_is_refused_at_the_byte_that_is_too_many(bench):
    conversation = Conversation(b"x" * 5_000, b"x", b"never read", stall_at=2)
    task = asyncio.create_task(serve(bench, conversation, version="2"))
    await conversation.stalled.wait()  # in sending the refusal
    assert conversation._incoming[0]["body"] == b"never read"
    task.cancel()
    await asyncio.wait([task])


async def test_memory_is_counted_while_a_body_is_read(bench):
    conversation = Conversation(b"x" * 100, b"y", stall_at=1)
    task = asyncio.create_task(serve(bench, conversation, version="2"))
    await conversation.stalled.wait()
    assert bench.admission.memory == 100
    task.cancel()
    await asyncio.wait([task])
    assert bench.admission.memory == 0


async def test_memory_is_set_aside_for_a_length_before_a_byte_is_read(bench):
    conversation = Conversation(b"x", stall_at=0)
    task = asyncio.create_task(serve(bench, conversation, length=4_000))
    await conversation.stalled.wait()
    assert bench.admission.memory == 4_000
    task.cancel()
    await asyncio.wait([task])


async def test_memory_is_counted_while_a_reply_is_sent(bench):
    bench.link.on_publish = lambda held: bench.link.reply(held, b"x" * 700)
    conversation = Conversation(stall_at=1)
    task = asyncio.create_task(serve(bench, conversation))
    await conversation.stalled.wait()
    assert bench.admission.memory == 700
    task.cancel()
    await asyncio.wait([task])
    assert bench.admission.memory == 0
