"""Between the exchange and the broker: what is made of each reply, receipt and loss."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from activemq import Frame
from activemq.brokers import PROFILES
from activemq.clock import Clock
from activemq.errors import ConnectionLostError, NotConnectedError, ServerError
from activemq.parser import Parser
from bridge.exchange import End, Exchange, Refused
from bridge.link import Link
from bridge.routing import ServedRoute
from bridge.settings import Route
from bridge.wheel import Wheel


class FakeClient:
    """Keeps what is sent; the broker's part is played by the test."""

    def __init__(self):
        self.profile = PROFILES["classic"]
        self.clock = Clock(offset_ms=3_600_000.0)
        self.connected = True
        self.generation = 1
        self.sent = []
        self.receipts = {}
        self.on_message = None
        self.on_lost = None

    def subscribe(self, headers, on_message, *, name):
        self.subscription = (name, dict(headers(self.profile)))
        self.on_message = on_message

    def listen(self, on_connected, on_lost):
        self.on_lost = on_lost

    def publish(self, data, receipt, on_receipt):
        if not self.connected:
            raise NotConnectedError("gone")
        self.sent.append(data)
        self.receipts[receipt] = on_receipt

    def forget_receipt(self, receipt):
        self.receipts.pop(receipt, None)


class Bench:
    def __init__(self):
        self.client = FakeClient()
        self.exchange = Exchange(Wheel())
        self.withdrawn = []
        self.link = Link(self.client, self.exchange, SimpleNamespace(withdraw=self.withdrawn.append))

    def opened(self):
        return self.exchange.open(self.exchange.new_id(), 0.0, 30.0, 5.0)

    def reply(self, correlation_id, **headers):
        fields = {} if correlation_id is None else {"correlation-id": correlation_id}
        frame = Frame.of("MESSAGE", {**fields, **headers})
        self.client.on_message(frame)
        return frame


@pytest.fixture
async def bench():
    return Bench()


# -- replies


async def test_it_listens_on_a_destination_that_dies_with_the_connection(bench):
    assert bench.client.subscription == ("replies", {"destination": "/temp-queue/replies", "ack": "auto"})


@pytest.mark.parametrize("headers", [{}, {"reply_kind": "final"}, {"attempt": "1"}, {"attempt": "nonsense"}])
async def test_a_reply_is_its_calls_outcome(bench, headers):
    held = bench.opened()
    frame = bench.reply(held.correlation_id, **headers)
    assert held.outcome.result() is frame


@pytest.mark.parametrize("correlation_id", [None, "", "0" * 32])
async def test_a_reply_for_nobody_is_counted(bench, correlation_id):
    held = bench.opened()
    bench.reply(correlation_id)
    assert not held.outcome.done()
    assert bench.exchange.counts.stray_replies == 1


@pytest.mark.parametrize("kind", ["", "final", "started"])
async def test_an_undefined_escape_in_an_id_is_counted_and_no_error(bench, kind):
    bench.client.on_message(Frame("MESSAGE", f"\nreply_kind:{kind}\ncorrelation-id:\\q"))
    assert bench.exchange.counts.stray_replies == 1


@pytest.mark.parametrize("kind", ["progress", "chunk", "nonsense", ""])
async def test_a_kind_that_was_not_asked_for_is_no_answer(bench, kind):
    held = bench.opened()
    bench.reply(held.correlation_id, reply_kind=kind)
    assert not held.outcome.done()
    bench.reply(held.correlation_id)
    assert held.outcome.done()


# -- started


async def test_a_worker_that_has_begun_is_noted(bench):
    held = bench.opened()
    bench.reply(held.correlation_id, reply_kind="started", attempt="2")
    assert (held.attempt, held.outcome.done(), bench.withdrawn) == (2, False, [])
    bench.reply(held.correlation_id, reply_kind="started", attempt="1")
    assert held.attempt == 2


async def test_a_worker_that_has_begun_what_is_over_is_told_so(bench):
    held = bench.opened()
    bench.exchange.close(held)
    bench.reply(held.correlation_id, reply_kind="started")
    assert bench.withdrawn == [held.correlation_id]


@pytest.mark.parametrize(
    "correlation_id", [None, "", "x", "A" * 32, "a" * 33, "a" * 32 + "\n", "a\nexpires:x", "a\r\n\n"]
)
async def test_what_cannot_be_an_id_of_ours_is_not_repeated_to_all_workers(bench, correlation_id):
    bench.reply(correlation_id, reply_kind="started")
    assert bench.withdrawn == []


@pytest.mark.parametrize(
    ("attempt", "is_taken"), [("1", False), ("nonsense", False), ("2", True), ("3", True), (None, True)]
)
async def test_a_reply_of_an_attempt_that_was_given_up_is_dropped(bench, attempt, is_taken):
    held = bench.opened()
    bench.reply(held.correlation_id, reply_kind="started", attempt="2")
    bench.reply(held.correlation_id, **({} if attempt is None else {"attempt": attempt}))
    assert held.outcome.done() == is_taken
    assert bench.exchange.counts.stray_replies == (not is_taken)


# -- requests


def published(bench, route):
    held = bench.opened()
    bench.link.publish(route, held, 12.3456, 7, [("http_method", "PUT")], b"body", text=True)
    return held, parsed(bench)


def parsed(bench):
    """The frame that was sent last."""
    (frame,) = Parser(commands=frozenset({"SEND"})).feed(bench.client.sent[-1])
    return frame


def a_route(**options):
    return ServedRoute(Route(**{"name": "r", "path": "/r", "queue": "a.b", **options}))


async def test_a_request_message_is_for_the_routes_queue_and_in_the_brokers_time(bench):
    before = bench.client.clock.now_ms()
    held, frame = published(bench, a_route(max_attempts=5, redeliver=False, max_reply=9, persistent=True))
    after = bench.client.clock.now_ms()
    headers = frame.headers
    deadline = int(headers.pop("deadline_ms"))
    assert before + 12_346 <= deadline <= after + 12_346
    assert headers == {
        "destination": "/queue/a.b",
        "reply-to": "/temp-queue/replies",
        "type": "r",
        "persistent": "true",
        "attempt": "1",
        "max_attempts": "5",
        "redeliver": "false",
        "max_reply": "9",
        "reply_kinds": "started",
        "started_after_ms": "50",
        "correlation-id": held.correlation_id,
        "receipt": held.correlation_id,
        "expires": str(deadline),
        "priority": "7",
        "budget_ms": "12346",
        "http_method": "PUT",
    }


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("never", {}),
        ("ask", {"reply_kinds": "started", "started_after_ms": "50"}),
        ("always", {"reply_kinds": "started"}),
    ],
)
async def test_what_a_route_wants_to_be_told(bench, started, expected):
    _, frame = published(bench, a_route(started=started))
    assert {name: frame.get(name) for name in ("reply_kinds", "started_after_ms") if frame.get(name)} == expected


async def test_without_a_connection_nothing_is_sent(bench):
    bench.client.connected = False
    with pytest.raises(NotConnectedError):
        published(bench, a_route())
    assert bench.client.sent == []


# -- receipts and loss


async def test_a_receipt_confirms(bench):
    held, _ = published(bench, a_route())
    assert held.confirm_by == 5.0
    bench.client.receipts[held.correlation_id](held.correlation_id, None)
    assert held.confirm_by == held.deadline
    assert not held.outcome.done()


@pytest.mark.parametrize("error", [ServerError("no"), ConnectionLostError("cut")])
async def test_an_error_instead_of_the_receipt_ends_the_call(bench, error):
    held, _ = published(bench, a_route())
    bench.client.receipts[held.correlation_id](held.correlation_id, error)
    expected = Refused(error) if isinstance(error, ServerError) else End.BROKER_LOST
    assert held.outcome.result() == expected


async def test_a_receipt_is_forgotten_with_its_call(bench):
    held, _ = published(bench, a_route())
    bench.link.forget(held)
    assert bench.client.receipts == {}


async def test_the_loss_of_the_connection_ends_all_calls(bench):
    calls = [bench.opened() for _ in range(3)]
    bench.client.on_lost(ConnectionLostError("cut"))
    assert [held.outcome.result() for held in calls] == [End.BROKER_LOST] * 3
    await asyncio.sleep(0)
