"""The call's endpoint by itself, without a server or a broker: every way out of it leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from activemq import Frame
from activemq.errors import BufferFullError, NotConnectedError, ServerError
from bridge.backlog import Pace
from bridge.endpoints.call import DISCARD_AT_MOST, READ_TO_THE_END
from bridge.exchange import End, Refused
from bridge.presence import UNKNOWN
from tests.bridge.call_bench import Bench, Conversation, scope, serve
from tests.bridge.callers import until


@pytest.fixture
async def bench():
    bench = Bench()
    yield bench
    assert bench.is_clean()
    bench.wheel.stop()
    await until(lambda: not any("_see_caller_leave" in repr(task) for task in asyncio.all_tasks()), "no watcher left")


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
    End.NO_WORKER: (503, "no-worker", "maybe", True),
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
            bench.exchange.notice(held.correlation_id, attempt, Frame.of("MESSAGE", {}))
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


async def test_in_http_1_a_refused_body_is_not_read(bench):
    async def never():
        raise AssertionError("read")

    conversation = Conversation()
    await bench.app(scope("/nothing", length=3), never, conversation.send)
    assert conversation.status == 404


@pytest.mark.parametrize("path", ["/nothing", "/r"])
async def test_in_http_2_a_refused_body_is_read_to_its_end_before_the_answer(bench, path):
    headers = ((b"via", b"1.1 proxy"),)
    conversation = Conversation(b"a", b"b", b"")
    await bench.app(scope(path, *headers, version="2"), conversation.receive, conversation.send)
    assert conversation.status in (403, 404)
    assert conversation._incoming == []


async def test_in_http_2_a_refused_body_without_end_is_read_up_to_a_bound(bench):
    conversation = Conversation(b"x" * DISCARD_AT_MOST, b"y", b"never read", b"")
    await bench.app(scope("/nothing", version="2"), conversation.receive, conversation.send)
    assert conversation.status == 404
    assert [message["body"] for message in conversation._incoming] == [b"never read", b""]


async def test_in_http_2_a_refused_body_that_does_not_come_is_not_waited_for_longer_than_any_body():
    bench = Bench(body_timeout=0.05)
    conversation = Conversation(b"x", stall_at=0)
    sent = Conversation()
    await bench.app(scope("/nothing", version="2"), conversation.receive, sent.send)
    assert sent.status == 404
    bench.wheel.stop()


async def test_in_http_2_there_is_no_connection_header(bench):
    bench.admission.draining = True
    conversation = await serve(bench, Conversation(), version="2", length=0)
    assert conversation.problem["type"] == "/problems/draining"
    assert b"connection" not in conversation.headers
    conversation = await serve(bench, Conversation(), length=0)
    assert conversation.headers[b"connection"] == b"close"


@pytest.mark.parametrize(
    ("length", "closes"), [(None, False), (0, False), (1, False), (READ_TO_THE_END, False), (READ_TO_THE_END + 1, True)]
)
async def test_a_connection_with_much_of_an_unread_body_is_closed(bench, length, closes):
    conversation = await serve(bench, Conversation(), path="/nothing", length=length)
    assert (conversation.headers.get(b"connection") == b"close") == closes


async def test_http_1_1_needs_a_host_and_others_do_not(bench):
    bench.link.on_publish = bench.link.reply
    for version, status in (("1.1", 400), ("1.0", 200), ("2", 200)):
        conversation = Conversation()
        without = {**scope(version=version), "headers": []}
        await bench.app(without, conversation.receive, conversation.send)
        assert conversation.status == status
        assert (conversation.headers.get(b"connection") == b"close") == (status == 400)


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


# -- who listens, and how much waits


async def test_while_somebody_listens_nobody_asks(bench):
    bench.link.on_publish = bench.link.reply
    assert (await serve(bench, Conversation())).status == 200
    assert bench.lookout.asked == 0


async def test_while_nobody_knows_who_listens_nobody_asks_and_no_call_is_refused(bench):
    bench.route.queue.put(UNKNOWN)
    bench.link.on_publish = bench.link.reply
    assert (await serve(bench, Conversation())).status == 200
    assert bench.lookout.asked == 0


async def test_a_zero_that_is_sure_is_a_503_and_nothing_is_sent(bench):
    bench.route.queue.put(0)
    conversation = await serve(bench, Conversation())
    problem = conversation.problem
    assert (conversation.status, problem["type"], problem["ran"]) == (503, "/problems/no-worker", "no")
    assert bench.link.published == []


async def test_a_zero_that_is_not_sure_refuses_nobody(bench):
    bench.route.queue.put(0)
    bench.lookout.is_nobody = False
    bench.link.on_publish = bench.link.reply
    assert (await serve(bench, Conversation())).status == 200
    assert bench.lookout.asked == 1


async def test_a_broker_lost_while_it_is_asked_is_broker_unavailable(bench):
    bench.route.queue.put(0)
    bench.lookout.is_nobody = False
    bench.link.error = NotConnectedError("gone")
    assert (await serve(bench, Conversation())).problem["type"] == "/problems/broker-unavailable"


async def test_cancelled_while_the_broker_is_asked_nothing_is_left(bench):
    bench.route.queue.put(0)
    asked = asyncio.Event()

    async def never(_queue):
        asked.set()
        await asyncio.Event().wait()

    bench.lookout.nobody = never
    task = asyncio.create_task(serve(bench, Conversation(b"abc"), length=3))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.is_clean()


async def test_a_call_that_may_wait_for_a_worker_is_sent_and_withdrawn_when_nobody_came(bench):
    bench.route.queue.put(0)
    conversation = await serve(bench, Conversation(), path="/waits")
    problem = conversation.problem
    assert (conversation.status, problem["type"], problem["ran"]) == (503, "/problems/no-worker", "maybe")
    assert [sent[0] for sent in bench.link.published] == [problem["correlation_id"]] == bench.link.withdrawn
    assert bench.lookout.asked == 2


@pytest.mark.parametrize("how", ["one came", "one began", "there is one at the end"])
async def test_a_call_that_found_its_worker_in_time_waits_like_any_other(bench, how):
    bench.route.queue.put(0)
    published = []
    bench.link.on_publish = published.append
    bench.lookout.comes = how == "one came"
    calling = asyncio.create_task(serve(bench, Conversation(), path="/waits"))
    await until(lambda: published)
    (held,) = published
    if how == "one began":
        bench.exchange.notice(held.correlation_id, 1, Frame.of("MESSAGE", {}, b""))
    bench.lookout.is_nobody = False
    await until(lambda: not any("_wait_for_first_worker" in repr(task) for task in asyncio.all_tasks()))
    assert not calling.done()
    bench.link.reply(held)
    assert (await calling).status == 200


async def test_a_reply_ends_the_wait_for_a_worker(bench):
    bench.route.queue.put(0)
    bench.link.on_publish = bench.link.reply
    assert (await serve(bench, Conversation(), path="/waits")).status == 200
    await until(lambda: not any("_wait_for_first_worker" in repr(task) for task in asyncio.all_tasks()))


@pytest.mark.parametrize(("unanswered", "status"), [(9_999, 200), (10_000, 503), (10_001, 503)])
async def test_the_backlog_has_a_limit(bench, unanswered, status):
    queue = bench.route.queue
    queue.unanswered = unanswered
    bench.link.on_publish = bench.link.reply
    conversation = await serve(bench, Conversation())
    assert conversation.status == status
    if status == 503:
        assert conversation.problem["type"] == "/problems/queue-full"
        assert conversation.problem["ran"] == "no"
        assert bench.link.published == []
    assert queue.unanswered == unanswered
    queue.unanswered = 0


async def test_a_queue_that_nobody_reads_is_told_as_that_and_not_as_full(bench):
    bench.route.queue.put(0)
    bench.route.queue.unanswered = 10_000
    assert (await serve(bench, Conversation())).problem["type"] == "/problems/no-worker"
    bench.route.queue.unanswered = 0


@pytest.mark.parametrize(("answered", "least", "most"), [(0, 5, 8), (5_000, 2, 4), (100, 40, 60), (10_000_000, 1, 2)])
async def test_retry_after_is_the_time_that_what_waits_takes(bench, answered, least, most):
    queue = bench.route.queue
    queue.unanswered = 10_000
    queue.pace = Pace(lambda: 1_000.0)
    queue.pace.note()
    queue.pace._second[1] = answered
    conversation = await serve(bench, Conversation())
    assert least <= int(conversation.headers[b"retry-after"]) <= most
    queue.unanswered = 0


async def test_answers_are_counted_and_what_is_none_is_not(bench):
    bench.link.on_publish = bench.link.reply
    await serve(bench, Conversation())
    bench.link.on_publish = lambda held: held.end(End.DEADLINE)
    await serve(bench, Conversation())
    assert (bench.route.counts.answered, bench.route.queue.pace.total) == (1, 1)


async def test_what_is_held_is_known_with_the_time_when_it_came(bench):
    published = []
    bench.link.on_publish = published.append
    calling = [asyncio.create_task(serve(bench, Conversation())) for _ in range(2)]
    await until(lambda: len(published) == 2)
    assert list(bench.route.counts.since) == [held.correlation_id for held in published]
    assert bench.route.queue.unanswered == 2
    for held in published:
        bench.link.reply(held)
    await asyncio.gather(*calling)
