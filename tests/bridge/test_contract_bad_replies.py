"""Workers that reply what HTTP cannot say, to whom nobody waits, too late or too often: no other call is harmed."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from bridge.settings import Route
from tests.bridge.callers import until
from tests.bridge.harness import ToldWorker, broker_settings, running, settings_for

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.every_broker]

MAX_REPLY = 50_000
MAX_FRAME = 200_000


class World:
    def __init__(self, bridge, worker, queue):
        self.bridge = bridge
        self.worker = worker
        self.queue = queue("work")
        self.exchange = bridge.bridge.exchange

    async def called(self, target="/work", body=b""):
        """Make a call; return its task and its request message."""
        calling = asyncio.create_task(self.bridge.call(target, body))
        return calling, await self.worker.request(self.queue)

    async def answered(self, reply=b"", **properties):
        """Make a call and reply to it; return the response."""
        calling, message = await self.called()
        await self.worker.reply(message, reply, **properties)
        return await calling

    async def stray(self, message, body=b"stray", **headers):
        """Send a reply that nobody waits for, and wait until the bridge has seen it."""
        before = self.exchange.counts.stray_replies
        fields = {"correlation-id": message.get("correlation-id"), **headers}
        await self.worker.send(message.get("reply-to"), fields, body, text=False)
        await until(lambda: self.exchange.counts.stray_replies == before + 1, "the stray reply")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(carrier, implementation, queue):
    routes = [
        Route(
            name="work",
            path="/work",
            queue=queue("work"),
            timeout=15.0,
            max_reply=MAX_REPLY,
            pass_reply_headers=("etag", "cache-control"),
        ),
        Route(name="hasty", path="/hasty", queue=queue("work"), timeout=0.3),
    ]
    settings = settings_for(carrier, routes).model_copy(
        update={"broker": broker_settings(carrier, max_frame=MAX_FRAME)}
    )
    async with (
        ToldWorker(carrier, queue("work")) as worker,
        running(settings, implementation) as bridge,
    ):
        yield World(bridge, worker, queue)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def others_are_unharmed(world):
    """Around each test another call is held: it must get its own answer, over the same connection."""
    world.worker.forget()
    generation = world.bridge.bridge.client.generation
    other, message = await world.called(body=b"other")
    yield
    await world.worker.reply(message, b"for the other")
    response = await other
    assert (response.status, response.body) == (200, b"for the other")
    assert world.bridge.bridge.client.generation == generation
    await world.bridge.at_rest()


def check(response, name, ran, status=502):
    assert (response.status, response.name, response.problem["ran"]) == (status, name, ran)
    assert response.problem["correlation_id"] == response.get("correlation-id")
    assert response.get("cache-control") == "no-store"


# -- the reply itself


@pytest.mark.parametrize("status", ["abc", "99", "199", "600", "1000", "", "-200", "2e2"])
async def test_a_status_that_http_has_not(world, status):
    check(await world.answered(b"x", http_status=status), "bad-reply", "yes")


@pytest.mark.parametrize("name", ["content_type", "http_header_etag"])
@pytest.mark.parametrize("value", ["a\r\nset-cookie: stolen=1", "a\nb", "a\rb", "a\x1bb"])
async def test_a_header_that_would_be_two(world, name, value):
    if "\r" in value and "1.2" not in world.bridge.bridge.client.profile.versions:
        pytest.skip("STOMP 1.1 has no escape for CR")
    response = await world.answered(b"x", **{name: value})
    check(response, "bad-reply", "yes")
    assert response.get("set-cookie") is None


async def test_hop_by_hop_names_do_not_pass(world):
    names = ["connection", "keep_alive", "transfer_encoding", "te", "trailer", "upgrade", "proxy_authenticate"]
    response = await world.answered(b"x", **{f"http_header_{name}": "chunked" for name in names})
    assert (response.status, response.body) == (200, b"x")
    assert not {name.replace("_", "-") for name in names} & {name for name, _ in response.headers}


@pytest.mark.parametrize("status", ["204", "205", "304"])
async def test_a_body_where_there_can_be_none(world, status):
    check(await world.answered(b"x", http_status=status), "bad-reply", "yes")


@pytest.mark.parametrize(("size", "fits"), [(MAX_REPLY - 1, True), (MAX_REPLY, True), (MAX_REPLY + 1, False)])
async def test_a_reply_has_the_routes_limit(world, size, fits):
    response = await world.answered(b"x" * size)
    if fits:
        assert response.body == b"x" * size
    else:
        check(response, "bad-reply", "yes")


@pytest.mark.parametrize("size", [MAX_FRAME, MAX_FRAME + 1, 20 * MAX_FRAME])
@pytest.mark.parametrize("text", [False, True])
async def test_a_reply_over_the_frame_limit_costs_its_own_call_only(world, size, text):
    check(await world.answered(b"x" * size, text=text), "bad-reply", "yes")


@pytest.mark.parametrize(
    ("problem", "name", "ran"),
    [
        ("worker-failed", "worker-failed", "yes"),
        ("worker-lost", "worker-lost", "maybe"),
        ("poisoned", "poisoned", "maybe"),
        ("bad-reply", "bad-reply", "yes"),
        ("nonsense", "worker-failed", "yes"),
    ],
)
async def test_the_sdks_word_that_there_is_no_answer(world, problem, name, ran):
    response = await world.answered(b"at org.example.Secret(Secret.java)", problem=problem, http_status="200")
    check(response, name, ran)
    assert b"Secret" not in response.body


async def test_a_workers_own_502_is_its_own(world):
    response = await world.answered(b"upstream is down", http_status="502", content_type="text/plain")
    assert (response.status, response.body) == (502, b"upstream is down")


# -- whose reply


@pytest.mark.parametrize(
    "correlation_id",
    [None, "", "0" * 32, "f" * 32, "no id", "\\", "a:b", "x" * 8_000],
    ids=lambda value: repr(value)[:12],
)
async def test_a_reply_without_an_id_or_with_an_unknown_one_is_dropped_and_counted(world, correlation_id):
    calling, message = await world.called()
    await world.stray(message, **{"correlation-id": correlation_id})
    assert not calling.done()
    await world.worker.reply(message, b"mine")
    assert (await calling).body == b"mine"


async def test_a_reply_in_upper_case_is_not_the_calls(world):
    calling, message = await world.called()
    await world.stray(message, **{"correlation-id": message.get("correlation-id").upper()})
    await world.worker.reply(message, b"mine")
    assert (await calling).body == b"mine"


async def test_a_second_reply_is_dropped_and_counted(world):
    calling, message = await world.called()
    await world.worker.reply(message, b"first")
    await world.stray(message, b"second")
    assert (await calling).body == b"first"


async def test_an_id_that_is_used_up_answers_no_later_call(world):
    first, used = await world.called()
    await world.worker.reply(used, b"first")
    await first
    second, message = await world.called()
    await world.stray(used, b"again")
    assert not second.done()
    await world.worker.reply(message, b"second")
    assert (await second).body == b"second"


async def test_a_foreign_id_answers_the_call_that_has_it_and_no_other(world):
    """A worker that knows another call's id has been given that call: ids cannot be guessed."""
    first, one = await world.called(body=b"1")
    second, two = await world.called(body=b"2")
    await world.worker.send(one.get("reply-to"), {"correlation-id": two.get("correlation-id")}, b"two", text=False)
    assert (await second).body == b"two"
    assert not first.done()
    await world.worker.reply(one, b"one")
    assert (await first).body == b"one"


async def test_a_thousand_replies_to_one_call_are_one_answer(world):
    before = world.exchange.counts.stray_replies
    calling, message = await world.called()
    for number in range(999):
        frame = _reply(message, b"%d" % number)
        world.worker.client.send(frame)
    await world.worker.reply(message, b"last")
    assert (await calling).body == b"0"
    await until(lambda: world.exchange.counts.stray_replies == before + 999, "999 strays")


def _reply(message, body):
    from activemq.frames import encode

    fields = [("destination", message.get("reply-to")), ("correlation-id", message.get("correlation-id"))]
    return encode("SEND", fields, body)


# -- too late


async def test_without_a_reply_it_is_a_504_and_never_before_its_time(world):
    loop = asyncio.get_running_loop()
    started = loop.time()
    calling, _ = await world.called("/hasty")
    response = await calling
    assert loop.time() - started >= 0.3
    check(response, "deadline", "maybe", 504)
    assert response.problem["phase"] == "unknown"
    assert response.get("preference-applied") is None


async def test_prefer_wait_brings_the_504_forward_and_says_so(world):
    loop = asyncio.get_running_loop()
    started = loop.time()
    calling = asyncio.create_task(world.bridge.call("/work", headers=(("Prefer", "wait=1"),)))
    message = await world.worker.request(world.queue)
    response = await calling
    assert loop.time() - started >= 1.0
    check(response, "deadline", "maybe", 504)
    assert response.get("preference-applied") == "wait=1"
    assert int(message.get("expires")) == int(message.get("deadline_ms"))


async def test_a_reply_after_the_deadline_is_dropped_and_counted(world):
    calling, message = await world.called("/hasty")
    assert (await calling).name == "deadline"
    await world.stray(message, b"too late")
    following, message = await world.called("/hasty")
    await world.worker.reply(message, b"in time")
    assert (await following).body == b"in time"


async def test_a_message_that_nobody_took_before_its_deadline_is_never_delivered(carrier, implementation, queue):
    lonely = queue(f"lonely-{implementation}")
    routes = [Route(name="lonely", path="/lonely", queue=lonely, timeout=0.3, worker_wait=20.0)]
    async with running(settings_for(carrier, routes), implementation) as bridge:
        assert (await bridge.call("/lonely", b"expired")).name == "deadline"
        async with ToldWorker(carrier, lonely) as worker:
            calling = asyncio.create_task(bridge.call("/lonely", b"in time"))
            message = await worker.request(lonely)
            assert message.body == b"in time"
            await worker.reply(message, b"ok")
            assert (await calling).body == b"ok"
