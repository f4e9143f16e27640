"""A program on stomp.py as a worker, on a real ActiveMQ: the same promises as our own worker's."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading

import pytest
import stomp
from pydantic import BaseModel

from activemq import Clock
from activemq.frames import encode
from activemq.testing import FakeBroker
from consumers import Reply, Request
from consumers.adapters.stomppy import WorkerListener
from tests.consumers.harness import PATIENCE, Requester, left_in, new_client, running, until, worker_of

CONNECTIONS = {"1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}


class Program:
    """A program on stomp.py, with a worker in it."""

    def __init__(self, broker, queue, function, slots=1, *, port=None, version="1.1", auto_decode=True, **options):
        self.connection = CONNECTIONS[version](
            [("127.0.0.1", port or broker.stomp_port)], auto_decode=auto_decode, heartbeats=(5_000, 5_000)
        )
        self.listener = WorkerListener(self.connection, queue, function, slots, **options)
        self.connection.set_listener("worker", self.listener)
        self._login = broker.login, broker.passcode

    @property
    def counts(self):
        return self.listener.counts

    async def connect(self):
        await asyncio.to_thread(self.connection.connect, *self._login, wait=True)

    async def __aenter__(self):
        await self.connect()
        return self

    async def __aexit__(self, *_):
        await asyncio.to_thread(self.listener.close)
        if self.connection.is_connected():
            await asyncio.to_thread(self.connection.disconnect, "bye")


class Gate:
    """A function that waits to be let go, and tells what it has begun and ended."""

    def __init__(self):
        self.begun, self.ended = [], []
        self.open = threading.Event()

    def __call__(self, text: str) -> str:
        self.begun.append(text)
        assert self.open.wait(PATIENCE)
        self.ended.append(text)
        return text


def run_all_the_same(request):
    return "run all the same"


def echo(body: bytes) -> bytes:
    return body


@pytest.fixture(params=CONNECTIONS)
def version(request):
    return request.param


async def test_a_request_is_served(broker, requester, queue, version):
    class Order(BaseModel):
        item: str

    def handler(request: Request) -> Reply:
        order = Order.model_validate_json(request.body)
        return Reply(order.item.encode(), 201, "text/plain", {"x-attempt": str(request.attempt), "x-c": "a:b\\c"})

    async with Program(broker, queue, handler, version=version, name="old program") as program:
        reply = await requester.call(queue, '{"item": "grüß"}', correlation_id="it:is\\me", **requester.in_time())
    assert (reply.get("http_status"), reply.get("content_type")) == ("201", "text/plain")
    assert (reply.body.decode(), reply.get("content-length")) == ("grüß", None)  # a TextMessage
    assert (reply.get("http_header_x_attempt"), reply.get("http_header_x_c")) == ("1", "a:b\\c")
    assert (reply.get("worker"), program.counts.replied) == ("old program", 1)
    assert float(reply.get("work_ms")) >= 0


async def test_octets_go_both_ways_on_a_connection_that_does_not_decode(broker, requester, queue, version):
    body = bytes(range(256))
    async with Program(broker, queue, echo, version=version, auto_decode=False):
        reply = await requester.call(queue, body)
    assert reply.body == body
    assert reply.get("content-length") == "256"


async def test_octets_that_decoding_has_destroyed_are_not_run(broker, requester, queue, caplog):
    ran = []

    def handler(body: bytes) -> None:
        ran.append(body)

    async with Program(broker, queue, handler):
        reply = await requester.call(queue, b"a\xffb")
        assert (await requester.call(queue, "grüß".encode())).get("http_status") == "204"
    assert reply.get("problem") == "worker-failed"
    assert ran == ["grüß".encode()]
    assert "auto_decode=False" in caplog.text


async def test_an_empty_body_and_an_empty_reply(broker, requester, queue, version):
    async with Program(broker, queue, echo, version=version):
        assert (await requester.call(queue, b"")).body == b""


async def test_the_reply_goes_out_its_receipt_comes_in_and_only_then_the_message_is_acknowledged(
    broker, requester, proxy, queue, version
):
    async with Program(broker, queue, echo, port=proxy.port, version=version):
        await until(lambda: proxy.sent("SUBSCRIBE"))
        proxy.frames.clear()
        await requester.call(queue, b"once")
        await until(lambda: proxy.sent("ACK"))
        story = proxy.story("MESSAGE", "SEND", "RECEIPT", "ACK")
        message, ack = (next(f for _, f in proxy.frames if f.command == name) for name in ("MESSAGE", "ACK"))
    assert story[-4:] == ["<MESSAGE", ">SEND", "<RECEIPT", ">ACK"]
    if version == "1.2":
        assert ack.get("id") == message.get("ack")
    else:
        assert ack.get("message-id") == message.get("message-id")
        assert ack.get("subscription") == message.get("subscription")


async def test_slots_are_subscriptions_with_one_message_at_a_time(broker, requester, proxy, queue):
    gate = Gate()
    async with Program(broker, queue, gate, 2, port=proxy.port):
        calls = [await requester.send(queue, f"{number}") for number in range(3)]
        await until(lambda: len(gate.begun) == 2)
        subscribed = [f.headers for f in proxy.sent("SUBSCRIBE") if f.get("destination") == f"/queue/{queue}"]
        assert len({headers["id"] for headers in subscribed}) == 2
        assert {headers["ack"] for headers in subscribed} == {"client-individual"}
        assert {headers["activemq.prefetchSize"] for headers in subscribed} == {"1"}
        assert len([f for _, f in proxy.frames if f.command == "MESSAGE"]) == 2
        gate.open.set()
        assert {(await requester.reply(call)).body for call in calls} == {b"0", b"1", b"2"}


async def test_the_receiver_thread_goes_on_while_a_handler_runs(broker, requester, queue):
    gate, seen = Gate(), threading.Event()

    class Watching(stomp.ConnectionListener):
        def on_receipt(self, frame):
            if frame.headers["receipt-id"] == "are you there":
                seen.set()

    async with Program(broker, queue, gate) as program:
        program.connection.set_listener("watching", Watching())
        call = await requester.send(queue, "slow")
        await until(lambda: gate.begun)
        program.connection.send("/topic/bridge.nobody-listens", "", receipt="are you there")
        await until(seen.is_set)
        assert not gate.ended
        gate.open.set()
        await requester.reply(call)


async def test_nagle_is_off(broker, queue):
    async with Program(broker, queue, echo) as program:
        sock = program.connection.transport.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- what goes wrong


def raises(request):
    raise ValueError("the secret of the trace")


def quits(request):
    raise SystemExit(3)


def stops_an_iteration(request):
    return next(iter(()))


@pytest.mark.parametrize("handler", [raises, quits, stops_an_iteration])
async def test_whatever_ends_a_function_is_worker_failed_and_the_next_message_served(
    broker, requester, queue, handler, caplog
):
    async with Program(broker, queue, handler) as program:
        for _ in range(2):
            reply = await requester.call(queue)
            assert reply.get("problem") == "worker-failed"
            assert "secret" not in str(reply.headers)
    assert program.counts.failed == 2
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "reply", [Reply(status=99), Reply("text"), Reply(headers={"x-a": "a\nb"}), Reply(b"x" * 11)], ids=repr
)
async def test_a_reply_that_cannot_be_an_answer_is_bad_reply(broker, requester, queue, reply, caplog):
    async with Program(broker, queue, lambda request: reply):
        assert (await requester.call(queue, max_reply="10")).get("problem") == "bad-reply"
    assert "the reply cannot be sent" in caplog.text


async def test_a_body_that_does_not_fit_is_a_422(broker, requester, queue):
    def handler(number: int) -> int:
        return number

    async with Program(broker, queue, handler):
        assert (await requester.call(queue, "x")).get("http_status") == "422"
        assert (await requester.call(queue, "7")).body == b"7"


async def test_a_message_of_a_jms_client_whose_body_stomp_is_not_shown_is_a_415(broker, requester, queue):
    of_a_core_client = {"__AMQ_CID": "da063d7e-e650-11f1-9027-02fc00000001"}
    async with Program(broker, queue, echo) as program:
        reply = await requester.call(queue, "", **of_a_core_client)
        assert (reply.get("http_status"), reply.get("content_type")) == ("415", "application/problem+json")
        assert b"Map, Object or Stream message" in reply.body
        assert (await requester.call(queue, "", content_length="0", **of_a_core_client)).get("http_status") == "200"
    assert (program.counts.unreadable, program.counts.replied) == (1, 2)


async def test_a_message_is_not_started_after_its_deadline_in_the_clocks_time(broker, requester, queue):
    ran = []
    hour = 3_600_000.0
    async with Program(broker, queue, ran.append, clock=Clock(offset_ms=hour)) as program:
        await requester.send(queue, deadline_ms=requester.in_time()["deadline_ms"])
        await until(lambda: program.counts.expired)
        in_time = str(round(requester.client.clock.now_ms() + hour + 30_000))
        await requester.call(queue, deadline_ms=in_time)
    assert len(ran) == 1
    assert await left_in(queue, requester) == []


async def test_a_deadline_that_is_no_number_is_not_guessed_at(broker, requester, queue):
    async with Program(broker, queue, run_all_the_same):
        assert (await requester.call(queue, deadline_ms="soon")).get("problem") == "worker-failed"


async def test_a_requester_that_is_gone_is_counted_and_the_next_message_served(broker, requester, queue, version):
    gate = Gate()
    async with Program(broker, queue, gate, version=version) as program:
        async with Requester(new_client(broker)) as gone:
            await gone.send(queue, "for nobody")
            await until(lambda: gate.begun)
        gate.open.set()
        assert (await requester.call(queue, "next")).body == b"next"
    assert (program.counts.unwanted, program.counts.replied) == (1, 1)
    assert await left_in(queue, requester) == []


async def test_no_reply_to_it_runs_and_is_acknowledged(broker, requester, proxy, queue):
    ran = []
    async with Program(broker, queue, ran.append, port=proxy.port):
        await requester.send(queue, reply_to=None)
        await until(lambda: proxy.sent("ACK"))
    assert len(ran) == 1
    assert not proxy.sent("SEND")


async def test_a_withdrawn_call_is_told_to_its_function_and_skipped_if_it_had_not_begun(broker, requester, queue):
    begun, stopped = threading.Event(), threading.Event()

    def handler(request: Request) -> str:
        begun.set()
        while not request.cancelled:
            assert not stopped.wait(0.005)
        return "nobody sees this"

    def withdraw(call):
        requester.client.send(encode("SEND", [("destination", "/topic/bridge.cancel"), ("correlation-id", call)]))

    async with Program(broker, queue, handler) as program:
        running_call = await requester.send(queue, "running")
        await until(begun.is_set)
        waiting_call = await requester.send(queue, "waiting")
        withdraw(waiting_call)
        withdraw(running_call)
        await until(lambda: program.counts.cancelled + program.counts.skipped == 2)
    assert (program.counts.cancelled, program.counts.skipped) == (1, 1)
    assert requester.replies == {}
    assert await left_in(queue, requester) == []


# -- loss


async def test_a_connection_lost_in_mid_job_gives_the_job_to_another_and_no_ack_crosses_to_the_next(
    broker, requester, proxy, queue, version
):
    gate = Gate()
    async with Program(broker, queue, gate, port=proxy.port, version=version) as program:
        call = await requester.send(queue, "job")
        await until(lambda: gate.begun)
        proxy.open_to_clients = False
        proxy.cut()
        await until(lambda: not program.connection.is_connected())
        async with running(worker_of(queue, lambda request: b"another's"), broker):
            assert (await requester.reply(call)).body == b"another's"
        proxy.frames.clear()
        proxy.open_to_clients = True
        await program.connect()
        await until(lambda: proxy.story("CONNECTED"))
        gate.open.set()
        await until(lambda: program.counts.returned)
        assert (await requester.call(queue, "next")).body == b"next"  # it has subscribed again
        await until(lambda: proxy.sent("ACK"))
        assert len(proxy.sent("ACK")) == 1
    assert gate.ended == ["job", "next"]
    assert len(requester.replies[call]) == 1


async def test_a_lost_message_that_nobody_wants_a_reply_to_is_not_acknowledged_on_the_next_connection(
    broker, requester, proxy, queue, version
):
    gate, ran = Gate(), []
    async with Program(broker, queue, gate, port=proxy.port, version=version) as program:
        await requester.send(queue, "job", reply_to=None)
        await until(lambda: gate.begun)
        proxy.open_to_clients = False
        proxy.cut()
        await until(lambda: not program.connection.is_connected())
        async with running(worker_of(queue, ran.append), broker):
            await until(lambda: ran)
        proxy.frames.clear()
        proxy.open_to_clients = True
        await program.connect()
        gate.open.set()
        await until(lambda: program.counts.returned)
        assert not proxy.sent("ACK")


async def test_a_connection_lost_while_it_waits_for_the_receipt_frees_the_thread(broker, requester, proxy, queue):
    gate = Gate()
    async with Program(broker, queue, gate, port=proxy.port) as program:
        call = await requester.send(queue, "job")
        await until(lambda: gate.begun)
        proxy.flowing.clear()
        gate.open.set()
        await requester.reply(call)
        proxy.cut()
        proxy.flowing.set()
        await until(lambda: program.counts.returned)
    assert program.counts.replied == 0


@pytest.mark.parametrize(
    ("headers", "attempt"),
    [({}, "2"), ({"attempt": "2"}, "3")],
)
async def test_a_message_that_was_lost_with_a_worker_is_handed_on_and_counted(
    broker, requester, queue, version, headers, attempt
):
    call = await requester.send(queue, b"job", persistent="true", **headers)
    await lose(broker, queue)

    def handler(request: Request) -> str:
        return str(request.attempt)

    async with Program(broker, queue, handler, version=version) as program:
        reply = await requester.reply(call)
    assert reply.body.decode() == attempt
    assert program.counts.handed_on == 1


async def lose(broker, queue):
    """Take a message and die with it."""
    came = []
    async with new_client(broker) as victim:
        victim.subscribe(lambda profile: profile.consume(queue), came.append)
        await until(lambda: came)


async def test_a_lost_message_of_a_route_that_does_not_hand_on_is_told_to_the_caller(broker, requester, queue):
    call = await requester.send(queue, b"job", redeliver="false")
    await lose(broker, queue)
    async with Program(broker, queue, run_all_the_same) as program:
        assert (await requester.reply(call)).get("problem") == "worker-lost"
    assert program.counts.lost == 1
    assert await left_in(queue, requester) == []


async def test_a_message_that_was_lost_too_often_is_parked(broker, requester, queue, version):
    call = await requester.send(queue, b"job", attempt="3", max_attempts="3")
    await lose(broker, queue)
    async with Program(broker, queue, run_all_the_same, version=version) as program:
        assert (await requester.reply(call)).get("problem") == "poisoned"
        await until(lambda: program.counts.poisoned)
    assert await left_in(queue, requester) == []
    assert await left_in(f"{queue}.poison", requester) == [b"job"]


async def test_a_lost_message_with_a_header_that_is_too_long_to_send_again_is_parked_without_it(
    broker, requester, queue, version
):
    call = await requester.send_raw(queue, b"big:" + b":" * 9_000, b"job")
    await lose(broker, queue)
    async with Program(broker, queue, run_all_the_same, version=version) as program:
        assert (await requester.reply(call)).get("problem") == "poisoned"
        assert program.listener._link.generation == 1
    assert await left_in(f"{queue}.poison", requester) == [b"job"]
    assert (program.counts.poisoned, program.counts.handed_on) == (1, 0)


async def test_a_lost_message_whose_body_decoding_has_destroyed_is_refused_and_not_copied(broker, requester, queue):
    call = await requester.send(queue, b"a\xffb")
    await lose(broker, queue)
    async with Program(broker, queue, run_all_the_same) as program:
        assert (await requester.reply(call)).get("problem") == "worker-failed"
    assert (program.counts.failed, program.counts.handed_on) == (1, 0)


async def test_a_lost_message_whose_copy_the_broker_refuses_is_offered_again(caplog):
    async with FakeBroker() as fake, Requester(new_client(fake)) as requester:
        await requester.send("q", b"job", max_attempts="1")
        await lose(fake, "q")
        fake.refuse("/queue/q.poison", "not for you")
        connection = stomp.StompConnection12([("127.0.0.1", fake.port)], auto_decode=False)
        listener = WorkerListener(connection, "q", run_all_the_same)
        connection.set_listener("worker", listener)
        await asyncio.to_thread(connection.connect, "me", "pass", wait=True)
        await until(lambda: "could not be moved" in caplog.text)
        fake.allow("/queue/q.poison")
        await until(lambda: fake.messages("q.poison"))
        await asyncio.to_thread(listener.close)
        await asyncio.to_thread(connection.disconnect, "bye")
        assert [message.body for message in fake.messages("q.poison")] == [b"job"]
        assert not fake.unacknowledged("q")


# -- its end, and its mistakes


async def test_closing_waits_for_what_runs_acknowledges_it_and_takes_nothing_more(broker, requester, proxy, queue):
    gate = Gate()
    program = Program(broker, queue, gate, 2, port=proxy.port)
    await program.connect()
    call = await requester.send(queue, "running")
    await until(lambda: gate.begun)
    proxy.frames.clear()
    closing = asyncio.create_task(asyncio.to_thread(program.listener.close))
    await until(lambda: proxy.sent("UNSUBSCRIBE"))  # the idle slot's
    await requester.send(queue, "later")
    assert not closing.done()
    gate.open.set()
    assert (await requester.reply(call)).body == b"running"
    await closing
    await asyncio.to_thread(program.connection.disconnect, "bye")
    await until(lambda: proxy.sent("DISCONNECT"))
    assert proxy.story("ACK", "UNSUBSCRIBE", "DISCONNECT") == [
        ">UNSUBSCRIBE",
        ">ACK",
        ">UNSUBSCRIBE",
        ">DISCONNECT",
    ]
    assert gate.begun == ["running"]
    assert await left_in(queue, requester) == [b"later"]


async def test_a_refused_subscription_is_logged(caplog):
    async with FakeBroker() as fake:
        fake.refuse("/queue/q", "not for you")
        connection = stomp.StompConnection12([("127.0.0.1", fake.port)])
        connection.set_listener("worker", WorkerListener(connection, "q", echo))
        await asyncio.to_thread(connection.connect, "me", "pass", wait=True)
        await until(lambda: "not for you" in caplog.text)
        await asyncio.to_thread(connection.disconnect, "bye")


def test_what_will_not_do_is_refused():
    async def asynchronous(request): ...

    connection = stomp.StompConnection12()
    with pytest.raises(TypeError, match=r"consumers\.Worker"):
        WorkerListener(connection, "q", asynchronous)
    with pytest.raises(TypeError, match="one argument"):
        WorkerListener(connection, "q", lambda: None)
    with pytest.raises(ValueError, match="queue 'a,b'"):
        WorkerListener(connection, "a,b", echo)
    with pytest.raises(ValueError, match="StompConnection11"):
        WorkerListener(stomp.StompConnection10(), "q", echo)


async def test_it_has_to_be_there_before_the_connection(broker, queue):
    async with Program(broker, queue, echo) as program:
        with pytest.raises(ValueError, match=r"before connect\(\)"):
            WorkerListener(program.connection, queue, echo)


def test_without_stomp_py_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "stomp", None)
    monkeypatch.delitem(sys.modules, "consumers.adapters.stomppy")
    with pytest.raises(ImportError, match=r"pip install '\.\[stomppy\]'"):
        import consumers.adapters.stomppy  # noqa: F401
