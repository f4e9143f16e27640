"""The worker as a whole: what it refuses, how it starts and how it ends. Against the fake broker."""

from __future__ import annotations

import asyncio
import threading

import pytest

from activemq.testing import FakeBroker
from consumers import Reply, Worker
from consumers.worker import SubscriptionRefusedError
from tests.consumers.harness import PATIENCE, Gate, Requester, new_client, running, until, worker_of

HOUR = 3_600.0


@pytest.fixture
async def fake():
    async with FakeBroker() as broker:
        yield broker


async def nothing(request):
    return Reply()


def test_a_queue_has_one_handler():
    worker = Worker()
    worker.handler("a")(nothing)
    worker.add("b", nothing)
    for queue in ("a", "b"):
        with pytest.raises(ValueError, match=f"{queue}.*already"):
            worker.handler(queue)(nothing)
        with pytest.raises(ValueError, match=f"{queue}.*already"):
            worker.add(queue, nothing)
    assert worker.queues == ("a", "b")


@pytest.mark.parametrize("queue", ["", "a,b", "a.>", "*", "a b", "/queue/a", "a?consumer.priority=1", "x" * 129])
def test_a_queue_is_a_plain_name(queue):
    with pytest.raises(ValueError, match="queue"):
        Worker().add(queue, nothing)


def test_a_decorated_function_stays_what_it_was():
    assert Worker().handler("a")(nothing) is nothing


async def test_a_worker_without_a_handler_does_not_run():
    with pytest.raises(ValueError, match="no handler"):
        await Worker().run(None, 1, asyncio.Event())


async def test_a_function_of_the_wrong_shape_is_refused_before_anything_is_taken(fake):
    with pytest.raises(TypeError, match="one argument"):
        await worker_of("q", lambda: None).run(new_client(fake), 1, asyncio.Event())
    assert fake.received == []


async def test_a_refused_subscription_is_an_error_that_says_why(fake):
    fake.refuse("/queue/q", "not for you")
    left = []

    class Lifespan:
        async def __aenter__(self): ...

        async def __aexit__(self, *_):
            left.append(True)

    worker = Worker(lifespan=Lifespan)
    worker.add("q", nothing)
    with pytest.raises(SubscriptionRefusedError, match="not for you"):
        await worker.run(new_client(fake), 2, asyncio.Event(), pytest.fail)
    assert left
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("slot")]


@pytest.mark.parametrize("hours", [-1, 1])
async def test_two_clocks_that_disagree_do_not_expire_a_message(hours):
    """The broker's clock is an hour off ours; the deadline is in its time, and so is the pick-up."""
    async with FakeBroker(clock_offset=hours * HOUR) as broker, Requester(new_client(broker)) as requester:
        assert abs(requester.client.clock.offset_ms - hours * HOUR * 1_000) < 5_000
        worker = worker_of("q", nothing)
        async with running(worker, broker):
            reply = await requester.call("q", deadline_ms=requester.in_time()["deadline_ms"])
            await requester.send("q", deadline_ms=str(requester.client.clock.now_ms() - 10))
            await until(lambda: worker.counts.expired)
    assert reply.get("http_status") == "200"
    assert worker.counts.replied == 1


async def test_the_fake_broker_shows_that_a_running_message_is_not_acknowledged(fake):
    gate = Gate()
    async with Requester(new_client(fake)) as requester, running(worker_of("q", gate), fake):
        call = await requester.send("q", "job")
        await until(lambda: gate.begun)
        assert len(fake.unacknowledged("q")) == 1
        gate.open.set()
        await requester.reply(call)
        await until(lambda: not fake.unacknowledged("q"))
    assert fake.messages("q") == []


async def test_draining_waits_for_a_function_in_a_thread(fake):
    go, begun = threading.Event(), threading.Event()

    def slow(request):
        begun.set()
        assert go.wait(PATIENCE)
        return "done"

    async with Requester(new_client(fake)) as requester, running(worker_of("q", slow), fake) as run:
        call = await requester.send("q")
        await until(begun.is_set)
        run.stopping.set()
        await asyncio.sleep(0)
        assert not run.task.done()
        go.set()
        assert (await requester.reply(call)).body == b"done"


async def test_a_cancelled_worker_does_not_stop_the_loop_for_a_thread_that_still_runs(fake):
    go, begun, ended = threading.Event(), threading.Event(), []

    def slow(request):
        begun.set()
        ended.append(go.wait(PATIENCE))

    worker = worker_of("q", slow)
    async with Requester(new_client(fake)) as requester:
        task = asyncio.create_task(worker.run(new_client(fake), 1, asyncio.Event()))
        await requester.send("q")
        await until(begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == []  # nobody waited for it
        go.set()
        await until(lambda: ended == [True])


async def test_a_lifespan_that_fails_takes_nothing(fake):
    class Lifespan:
        async def __aenter__(self):
            raise OSError("no database")

        async def __aexit__(self, *_): ...

    worker = Worker(lifespan=Lifespan)
    worker.add("q", nothing)
    with pytest.raises(OSError, match="no database"):
        await worker.run(new_client(fake), 1, asyncio.Event())
    assert fake.received == []
