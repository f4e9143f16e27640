"""What becomes of a request message, good or bad, on a real ActiveMQ: one reply, or none, and always an end."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from activemq.frames import Limits
from consumers import Reply, Request, Worker
from tests.consumers.harness import Gate, Requester, left_in, new_client, running, until, worker_of

pytestmark = pytest.mark.every_broker

MAX_REPLY = 1_000
HOUR_MS = 3_600_000


def echo(body: bytes) -> bytes:
    return body


async def served(broker, requester, queue, function, body=b"", **headers):
    """Have one message handled; return the reply."""
    async with running(worker_of(queue, function), broker):
        return await requester.call(queue, body, **headers)


# -- what a handler gives back


async def test_the_reply_carries_status_type_headers_and_body(broker, requester, queue):
    async def handler(request):
        return Reply(b"\x00\xff", 418, "image/x-tea", {"Cache-Control": "no-store", "etag": '"a:b"'})

    reply = await served(broker, requester, queue, handler)
    assert reply.get("http_status") == "418"
    assert reply.get("content_type") == "image/x-tea"
    assert reply.get("http_header_cache_control") == "no-store"
    assert reply.get("http_header_etag") == '"a:b"'
    assert reply.body == b"\x00\xff"
    assert reply.get("problem") is None


async def test_text_goes_as_a_text_message_and_octets_as_a_bytes_message(broker, requester, queue):
    async def handler(text: str):
        return "grüß" if text == "text" else b"octets"

    async with running(worker_of(queue, handler), broker):
        text, octets = await requester.call(queue, "text"), await requester.call(queue, "octets")
    length = "6" if broker.kind == "artemis" else None  # it tells the length of a text too
    assert (text.body.decode(), text.get("content-length")) == ("grüß", length)
    assert (octets.body, octets.get("content-length")) == (b"octets", "6")


async def test_a_plain_function_runs_in_a_thread_of_its_own_and_the_loop_goes_on(broker, requester, queue):
    both = threading.Barrier(2)
    names = []

    def handler(body: bytes) -> bytes:
        both.wait(timeout=10)  # one after the other they would never meet
        names.append(threading.current_thread().name)
        return body

    async with running(worker_of(queue, handler, "threads"), broker, 2):
        calls = [await requester.send(queue, b"1"), await requester.send(queue, b"2")]
        assert [(await requester.reply(call)).body for call in calls] == [b"1", b"2"]
    assert len(set(names)) == 2
    assert all(name.startswith("threads") for name in names)


async def test_timings_go_to_whom_they_mean_something(broker, requester, queue):
    async with running(worker_of(queue, echo, "teller"), broker):
        told = await requester.call(queue, **requester.in_time())
        untold = await requester.call(queue)
    assert told.get("worker") == "teller"
    assert int(told.get("queue_ms")) >= 0
    assert float(told.get("work_ms")) >= 0
    assert [untold.get(name) for name in ("worker", "queue_ms", "work_ms")] == [None, None, None]


# -- what goes wrong in a handler


async def test_a_handler_that_raises_is_worker_failed_and_its_trace_stays_in_the_log(broker, requester, queue, caplog):
    async def handler(request):
        raise ValueError("the secret of the trace")

    reply = await served(broker, requester, queue, handler)
    assert reply.get("problem") == "worker-failed"
    assert reply.body == b""
    assert "secret" not in str(reply.headers)
    assert "ValueError" not in str(reply.headers)
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.exc_info[1].args == ("the secret of the trace",)
    assert reply.get("correlation-id") in record.getMessage()


def quits(request):
    raise SystemExit(3)


async def quits_on_the_loop(request):
    raise SystemExit(3)


async def cancels_itself(request):
    raise asyncio.CancelledError


async def is_cancelled_inside(request):
    task = asyncio.create_task(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


def stops_an_iteration(request):
    return next(iter(()))


def presses_ctrl_c(request):
    raise KeyboardInterrupt


def raises_a_group(request):
    raise BaseExceptionGroup("several", [SystemExit(1), ValueError()])


def returns_what_is_no_json(request):
    return object()


@pytest.mark.parametrize(
    "handler",
    [
        quits,
        quits_on_the_loop,
        cancels_itself,
        is_cancelled_inside,
        stops_an_iteration,
        presses_ctrl_c,
        raises_a_group,
        returns_what_is_no_json,
    ],
)
async def test_whatever_ends_a_handler_is_its_own_failure_and_the_slot_goes_on(broker, requester, queue, handler):
    worker = worker_of(queue, handler)
    async with running(worker, broker):
        for _ in range(2):  # by the same slot
            assert (await requester.call(queue)).get("problem") == "worker-failed"
    assert worker.counts.failed == 2
    assert worker.counts.replied == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=99),
        Reply(status=199),
        Reply(status=600),
        Reply(status=-1),
        Reply(status="200"),
        Reply(status=True),
        Reply(status=None),
        Reply(b"body", 204),
        Reply(b"body", 205),
        Reply(b"body", 304),
        Reply("text"),
        Reply(content_type="text/plain\r\nx: y"),
        Reply(content_type=b"text/plain"),
        Reply(headers={"x-note": "a\nb"}),
        Reply(headers={"x-note": "a\0b"}),
        Reply(headers={"x-note": "x" * 8193}),
        Reply(headers={"x-note": 1}),
        Reply(headers={"x:y\nreceipt": "forged"}),
        Reply(headers={"x_note": "1"}),
        Reply(headers={"": "1"}),
        Reply(headers={f"x-{n}": "1" for n in range(201)}),
        Reply(headers={"x-note": "\ud800"}),
    ],
    ids=repr,
)
async def test_a_reply_that_cannot_be_an_answer_is_bad_reply_and_the_log_says_why(
    broker, requester, queue, caplog, reply
):
    worker = worker_of(queue, lambda request: reply)
    async with running(worker, broker) as run:
        answer = await requester.call(queue)
        assert run.client.generation == 1  # the connection is still the first
    assert answer.get("problem") == "bad-reply"
    assert answer.body == b""
    assert "the reply cannot be sent" in caplog.text
    assert worker.counts.failed == 1


@pytest.mark.parametrize(("size", "problem"), [(-1, None), (0, None), (1, "bad-reply")])
async def test_the_size_of_a_reply_is_held_to_the_routes_limit(broker, requester, queue, size, problem):
    body = b"x" * (MAX_REPLY + size)
    reply = await served(broker, requester, queue, lambda request: body, max_reply=str(MAX_REPLY))
    assert reply.get("problem") == problem
    assert reply.body == (b"" if problem else body)


async def test_without_a_limit_of_the_route_a_reply_must_fit_into_the_brokers_frame(broker, requester, queue):
    def octets(size: int) -> bytes:
        return b"x" * size

    async with running(worker_of(queue, octets), broker) as run:
        fits, over = await requester.call(queue, b"4128768"), await requester.call(queue, b"4128769")
        assert run.client.generation == 1
    assert len(fits.body) == 4128768
    assert over.get("problem") == "bad-reply"


# -- what is wrong with a message


@pytest.mark.parametrize(
    "headers",
    [
        {"deadline_ms": "soon"},
        {"deadline_ms": "-1"},
        {"deadline_ms": "1.5"},
        {"deadline_ms": ""},
        {"deadline_ms": "9" * 20},
        {"deadline_ms": "\u0663"},
    ],
)
async def test_a_deadline_that_is_no_number_is_not_guessed_at(broker, requester, queue, headers, caplog):
    ran = []
    worker = worker_of(queue, ran.append)
    async with running(worker, broker):
        reply = await requester.call(queue, **headers)
        assert (await requester.call(queue)).get("http_status") == "204"
    assert reply.get("problem") == "worker-failed"
    assert len(ran) == 1
    assert "deadline_ms" in caplog.text


@pytest.mark.parametrize("headers", [{"budget_ms": "²"}, {"budget_ms": "x"}, {"attempt": "x"}, {"http_method": ""}])
async def test_nonsense_that_nobody_needs_is_passed_over(broker, requester, queue, headers):
    deadline = requester.in_time()
    reply = await served(broker, requester, queue, echo, b"fine", **{**deadline, **headers})
    assert reply.body == b"fine"


async def test_a_body_over_the_workers_own_limit_is_not_run_as_an_empty_one(broker, requester, queue, caplog):
    ran = []
    worker = worker_of(queue, ran.append)
    client, stop, ready = new_client(broker, limits=Limits(max_body=1_000)), asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(worker.run(client, 1, stop, ready.set))
    await ready.wait()
    reply = await requester.call(queue, b"x" * 1_001)
    assert (await requester.call(queue, b"x" * 1_000)).get("http_status") == "204"
    stop.set()
    await task
    assert reply.get("problem") == "worker-failed"
    assert len(ran) == 1
    assert "1001 bytes" in caplog.text


async def test_no_correlation_id_the_reply_carries_the_messages_own(broker, requester, queue):
    async with running(worker_of(queue, lambda request: request.correlation_id), broker):
        await requester.send(queue, correlation_id=None)
        await until(lambda: requester.replies)
    ((correlation_id, (reply,)),) = requester.replies.items()
    if broker.kind == "classic":  # the other's ids are numbers
        assert correlation_id.startswith("ID:")
    assert reply.body.decode() == correlation_id


async def test_no_reply_to_it_runs_is_acknowledged_and_nothing_is_sent(broker, requester, proxy, queue):
    ran = []
    worker = worker_of(queue, ran.append)
    async with running(worker, broker, port=proxy.port):
        proxy.frames.clear()
        await requester.send(queue, reply_to=None)
        await until(lambda: proxy.sent("ACK"))
    assert len(ran) == 1
    assert not proxy.sent("SEND")
    assert worker.counts.replied == 0
    assert await left_in(queue, requester) == []


async def test_a_requester_that_is_gone_is_counted_its_message_acknowledged_and_the_next_one_served(
    broker, requester, queue
):
    gate = Gate()
    worker = worker_of(queue, gate)
    async with running(worker, broker) as run:
        async with Requester(new_client(broker)) as gone:
            await gone.send(queue, "for nobody")
            await until(lambda: gate.begun)
        gate.open.set()
        assert (await requester.call(queue, "next")).body == b"next"
        assert run.client.generation == 1
    assert gate.ended == ["for nobody", "next"]
    assert (worker.counts.unwanted, worker.counts.replied) == (1, 1)
    assert await left_in(queue, requester) == []


# -- time


async def test_a_message_is_not_started_after_its_deadline(broker, requester, proxy, queue):
    ran = []
    worker = worker_of(queue, ran.append)
    past = str(requester.client.clock.now_ms() - 1)
    async with running(worker, broker, port=proxy.port):
        proxy.frames.clear()
        await requester.send(queue, deadline_ms=past)  # the broker itself would drop one with `expires`
        await until(lambda: proxy.sent("ACK"))
    assert not ran
    assert not proxy.sent("SEND")
    assert worker.counts.expired == 1
    assert await left_in(queue, requester) == []


@pytest.mark.parametrize(
    ("offset_ms", "ahead_ms", "runs"),
    [(HOUR_MS, 30_000, False), (HOUR_MS, HOUR_MS + 30_000, True), (-HOUR_MS, -30_000, True)],
)
async def test_the_deadline_is_read_in_the_brokers_time_whatever_the_workers_clock_says(
    broker, requester, queue, offset_ms, ahead_ms, runs
):
    ran = []
    worker = worker_of(queue, ran.append)
    async with running(worker, broker) as run:
        run.client.clock.offset_ms = offset_ms  # as if the echo had shown this
        deadline = requester.client.clock.now_ms() + ahead_ms
        await requester.send(queue, deadline_ms=str(deadline))
        await until(lambda: worker.counts.expired or worker.counts.replied)
    assert bool(ran) == runs
    assert worker.counts.expired == (not runs)


async def test_an_expiry_counts_as_a_deadline(broker, requester, queue):
    async with running(worker_of(queue, _remaining), broker):
        reply = await requester.call(queue, expires=str(requester.client.clock.now_ms() + 30_000))
        assert (await requester.call(queue)).get("http_status") == "204"  # None: no end
    assert 20 < float(reply.body) <= 30.5


def _remaining(request: Request) -> float | None:
    return request.remaining()


async def test_what_expires_while_it_waits_is_run_by_nobody(broker, requester, queue):
    """The broker forgets it, or the worker does: this is about both together."""
    gate = Gate()
    worker = worker_of(queue, gate)
    async with running(worker, broker):
        first = await requester.send(queue, "first")
        await until(lambda: gate.begun)
        short = requester.in_time(0.2)
        await requester.send(queue, "short", **short)
        last = await requester.send(queue, "last")
        await until(lambda: requester.client.clock.now_ms() > int(short["deadline_ms"]) + 50)
        gate.open.set()
        await requester.reply(first)
        await requester.reply(last)
    assert gate.begun == ["first", "last"]


# -- the worker's own life


async def test_the_lifespan_is_entered_before_the_first_message_and_left_after_the_last(broker, requester, queue):
    events = []

    class Lifespan:
        async def __aenter__(self):
            events.append("start")

        async def __aexit__(self, *_):
            events.append("stop")

    worker = Worker(lifespan=Lifespan)
    worker.handler(queue)(lambda text: events.append("handle"))
    await requester.send(queue, "x")  # it waits already
    async with running(worker, broker):
        await until(lambda: worker.counts.replied)
    assert events == ["start", "handle", "stop"]
