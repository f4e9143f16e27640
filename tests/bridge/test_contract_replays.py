"""Dead letters become new jobs, on a real broker: what goes into them, and what if something dies meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from contextlib import asynccontextmanager
from typing import Any

import pytest

from activemq import Frame
from activemq.frames import encode
from bridge.jobs.none import NoJobs
from bridge.settings import Caller, Route
from tests.bridge.callers import PATIENCE, until
from tests.bridge.harness import NO_STORE, ToldWorker, client_for
from tests.bridge.letters import KEY, OF_A_CALL, Desk, a_desk, crash_with
from tests.consumers import harness as workers

pytestmark = pytest.mark.every_broker


@pytest.fixture
def queue():
    """A queue for each test: what is parked stays."""
    return f"test.{secrets.token_hex(6)}"


@pytest.fixture
async def desk(broker, queue):
    async with a_desk(broker, queue) as desk:
        yield desk


# -- where they come from


async def poisoned_call(desk: Desk, body: bytes = b"\x00\xffbinary", path: str = "/echo?q=1") -> None:
    calling = asyncio.create_task(desk.bridge.call(path, body, headers=(("Content-Type", "application/x-thing"),)))
    await crash_with(desk.broker, desk.queue)

    async def never(_: bytes) -> str:
        raise AssertionError("a message that was lost with its worker is not run")

    async with workers.running(workers.worker_of(desk.queue, never), desk.broker):
        response = await calling
    assert (response.status, response.name) == (502, "poisoned")


@asynccontextmanager
async def a_desk_with_a_call(broker, queue):
    route = Route(name="echo", path="/echo", queue=queue, max_attempts=1, worker_wait=15.0, timeout=15.0)
    async with a_desk(broker, queue, (route,)) as desk:
        yield desk


async def test_a_call_that_was_lost_with_its_worker_is_replayed_and_gets_its_result(broker, queue):
    async with a_desk_with_a_call(broker, queue) as desk:
        await poisoned_call(desk)
        letter = await desk.the_letter()
        assert (letter["queue"], letter["kind"], letter["original_queue"]) == (desk.poison, "poison", queue)
        assert (letter["route"], letter["attempts"], letter["size"]) == ("echo", 1, 8)
        assert (letter["content_type"], letter["reason"]) == ("application/x-thing", "lost with its worker too often")
        async with ToldWorker(broker, queue) as worker:
            response = await desk.replay(letter)
            request = await worker.request(queue)
            assert request.body == b"\x00\xffbinary"
            headers = request.headers
            assert headers["correlation-id"] != letter["correlation_id"]
            assert (headers["attempt"], headers["type"], headers["persistent"]) == ("1", "echo", "true")
            assert (headers["http_method"], headers["http_target"]) == ("POST", "/echo?q=1")
            assert headers["content_type"] == "application/x-thing"
            assert int(headers["deadline_ms"]) > desk.client.clock.now_ms()
            assert not {"original_queue", "original_reply_to", "original_expires"} & set(headers)
            assert headers["reply_kinds"] == "started"  # as the route asks of jobs
            await worker.reply(request, b"done at last")
            assert (await desk.result(response)).body == b"done at last"
        document = json.loads(response.body)
        assert (document["id"], document["removed"]) == (letter["id"], True)
        assert response.get("location") == f"/jobs/{document['job']['id']}"
        assert document["job"]["id"] == headers["correlation-id"]
        assert response.get("job-state") == document["job"]["state"]
        assert await desk.letters() == []


async def test_where_no_route_can_have_jobs_a_replay_opens_the_store(broker, queue):
    route = Route(name="echo", path="/echo", queue=queue, async_="never", idempotency="off")
    async with a_desk(broker, queue, (route,)) as desk:
        assert isinstance(desk.bridge.bridge.jobs, NoJobs)
        await desk.park(b"once more")
        async with ToldWorker(broker, queue) as worker:
            response = await desk.replay(await desk.the_letter())
            request = await worker.request(queue)
            assert request.body == b"once more"
            await worker.reply(request, b"done")
            assert (await desk.result(response)).body == b"done"


async def test_a_message_that_a_worker_refused_is_in_the_brokers_dead_letters_and_is_replayed(desk, broker):
    if broker.kind != "classic":
        pytest.skip("NACK is a dead letter on ActiveMQ Classic only")
    await desk.put(desk.queue, "text", {"type": "echo", **OF_A_CALL})
    taken: asyncio.Queue[Frame] = asyncio.Queue()
    async with client_for(broker) as client:
        client.subscribe(lambda profile: profile.consume(desk.queue), taken.put_nowait)
        async with asyncio.timeout(PATIENCE):
            frame = await taken.get()
        nack = encode("NACK", [("id", frame.get("ack") or ""), ("receipt", "nack")])
        await client.request_receipt(nack, "nack", timeout=PATIENCE)
    letter = await desk.the_letter(desk.dead)
    assert (letter["kind"], letter["original_queue"], letter["attempts"]) == ("dead", desk.queue, None)
    async with ToldWorker(broker, desk.queue) as worker:
        response = await desk.replay(letter)
        request = await worker.request(desk.queue)
        assert (request.body, request.raw("content-length")) == (b"text", None)
        assert request.get("originalExpiration") is None
        await worker.reply(request, b"yes")
        assert (await desk.result(response)).body == b"yes"
    assert await desk.count(desk.dead) == 0


async def test_an_expired_message_is_replayed_where_the_broker_keeps_such(own_broker, broker_kind, queue, monkeypatch):
    """Our own configuration keeps none, since their callers were told; Classic's default does, and in one queue."""
    from activemq.embedded import launcher

    if broker_kind != "classic":
        pytest.skip("ActiveMQ Classic's default keeps expired messages as dead letters; others name a queue or none")
    real = launcher.render
    ours = re.compile(r"<deadLetterStrategy>.*?</deadLetterStrategy>", re.DOTALL)

    def with_expired(kind, configuration):
        return {name: ours.sub("", text) for name, text in real(kind, configuration).items()}

    monkeypatch.setattr(launcher, "render", with_expired)
    broker = await own_broker()
    async with a_desk(broker, queue) as desk:
        expires = str(desk.client.clock.now_ms() + 200)
        await desk.put(queue, b"late", {"expires": expires, "type": "echo", **OF_A_CALL})
        async with asyncio.timeout(PATIENCE):
            while not await desk.count("ActiveMQ.DLQ"):  # noqa: ASYNC110 - the broker looks for what has expired by itself
                await asyncio.sleep(0.05)
        letter = await desk.the_letter("ActiveMQ.DLQ")
        assert (letter["kind"], letter["original_queue"], letter["route"]) == ("dead", queue, "echo")
        assert "xpired" in letter["reason"]
        async with ToldWorker(broker, queue) as worker:
            response = await desk.replay(letter)
            request = await worker.request(queue)
            assert {"original-destination", "originalExpiration", "dlqDeliveryFailureCause"}.isdisjoint(request.headers)
            assert int(request.headers["expires"]) > int(expires)
            await worker.reply(request, b"yes")
            assert (await desk.result(response)).status == 200


# -- replaying


async def test_two_replays_at_once_of_one_letter_make_one_job(desk, broker):
    await desk.park()
    letter = await desk.the_letter()
    answers = await asyncio.gather(*(desk.replay(letter) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [202, 404, 404, 404, 404]
    async with ToldWorker(broker, desk.queue) as worker:
        request = await worker.request(desk.queue)
        await desk.put(desk.queue, b"the last", {"priority": "0"})
        assert (await worker.request(desk.queue)).body == b"the last"
        assert request.body == b"body"


async def test_a_replay_that_died_before_the_letter_was_gone_finds_its_job_again(desk, broker, monkeypatch):
    from activemq.deadletters import Visit
    from activemq.errors import ConnectionLostError

    await desk.park()
    letter = await desk.the_letter()

    async def lost(*_):
        raise ConnectionLostError("at the worst moment")

    with monkeypatch.context() as patched:
        patched.setattr(Visit, "remove", lost)
        first = json.loads((await desk.replay(letter)).body)
    assert first["removed"] is False
    assert await desk.count(desk.poison) == 1
    second = json.loads((await desk.replay(letter)).body)
    assert (second["removed"], second["job"]["id"]) == (True, first["job"]["id"])
    assert await desk.count(desk.poison) == 0
    async with ToldWorker(broker, desk.queue) as worker:
        await worker.request(desk.queue)
        await desk.put(desk.queue, b"the last", {"priority": "0"})
        assert (await worker.request(desk.queue)).body == b"the last"  # and no second message of the job


async def test_a_replay_whose_message_the_broker_did_not_take_can_be_tried_again(desk, broker, monkeypatch):
    from activemq.errors import BufferFullError
    from bridge.jobs.link import JobLink

    await desk.park()
    letter = await desk.the_letter()

    def full(*_):
        raise BufferFullError("the broker does not read")

    with monkeypatch.context() as patched:
        patched.setattr(JobLink, "publish", full)
        response = await desk.replay(letter)
        assert (response.status, response.name, response.problem["ran"]) == (503, "broker-unavailable", "no")
    assert (await desk.the_letter())["id"] == letter["id"]
    response = await desk.replay(letter)
    async with ToldWorker(broker, desk.queue) as worker:
        await worker.reply(await worker.request(desk.queue), b"at last")
        assert (await desk.result(response)).body == b"at last"
    assert await desk.letters() == []


async def test_a_letter_that_dies_again_is_another_letter(desk, broker):
    await desk.park(b"again")
    letter = await desk.the_letter()
    assert (await desk.replay(letter)).status == 202
    await crash_with(broker, desk.queue)

    async def never(_: bytes) -> str:
        raise AssertionError("not run")

    async with workers.running(workers.worker_of(desk.queue, never), broker) as worker:
        await until(lambda: worker.counts.poisoned)
        await worker.round_trip()
    again = await desk.the_letter()
    assert again["id"] != letter["id"]
    if desk.client.profile.tells_time:
        assert again["when_ms"] >= letter["when_ms"]
    assert (await desk.replay(again)).status == 202


async def refused(desk: Desk, letter: dict[str, Any]) -> str:
    """The reason for which it is not replayed; it must still be there."""
    response = await desk.replay(letter)
    assert (response.status, response.name) == (409, "not-replayable"), response.body
    assert letter["id"] in [left["id"] for left in await desk.letters(letter["queue"])]
    return str(response.problem["detail"])


async def test_a_letter_whose_route_is_gone_is_not_replayed(desk):
    await desk.park(type="former")
    assert "no route 'former'" in await refused(desk, await desk.the_letter())


async def test_a_letter_whose_queue_has_another_route_now_is_not_replayed(desk):
    await desk.park(original_queue="/queue/moved.away")
    assert "no route 'echo' to the queue 'moved.away'" in await refused(desk, await desk.the_letter())


async def test_a_queue_of_a_route_that_is_gone_can_still_be_looked_into(desk):
    gone = f"{desk.queue}-gone"
    await desk.park(queue=f"{gone}.poison", type="gone", original_queue=f"/queue/{gone}")
    letter = await desk.the_letter(f"{gone}.poison")
    assert "no route 'gone'" in await refused(desk, letter)
    assert (await desk.ask(f"/{letter['id']}", "DELETE")).status == 204


async def test_a_message_of_a_java_program_is_replayed_on_the_one_route_that_has_its_queue(desk, broker):
    headers = {"original_queue": f"/queue/{desk.queue}", "orderId": "7", "priority": "9", "JMSXGroupID": "g"}
    await desk.put(desk.poison, "from java", headers)
    async with ToldWorker(broker, desk.queue) as worker:
        response = await desk.replay(await desk.the_letter())
        request = await worker.request(desk.queue)
        headers = request.headers
        assert (headers["orderId"], headers["http_method"], headers["http_target"]) == ("7", "POST", "/echo")
        assert headers["priority"] == "6"  # the route's ceiling
        await worker.reply(request, b"ok")
        assert (await desk.result(response)).status == 200


async def test_a_message_of_a_java_program_whose_queue_two_routes_share_is_not_replayed(broker, queue):
    routes = tuple(Route(name=name, path=f"/{name}", queue=queue) for name in ("a", "b"))
    async with a_desk(broker, queue, routes) as desk:
        await desk.put(desk.poison, b"", {"original_queue": f"/queue/{queue}"})
        assert "2 routes" in await refused(desk, await desk.the_letter())
        shelves = {shelf["queue"]: shelf["routes"] for shelf in (await desk.json())["queues"]}
        for shelf in (desk.poison, *desk.client.profile.dead_letters([queue])[-1:]):
            assert shelves[shelf] == ["a", "b"]


async def test_a_letter_that_was_parked_in_part_is_not_replayed(desk):
    await desk.park(left_out="http_header_cookie")
    letter = await desk.the_letter()
    assert (letter["left_out"], letter["reason"]) == ("http_header_cookie", "could not be sent again whole")
    assert "http_header_cookie" in await refused(desk, letter)


@pytest.mark.parametrize(("size", "fits"), [(8_191, True), (8_192, True), (8_193, False)])
async def test_a_property_over_what_headers_may_have_is_not_sent_over_the_shared_connection(desk, size, fits):
    await desk.park(long="x" * size)
    letter = await desk.the_letter()
    if fits:
        assert (await desk.replay(letter)).status == 202
    else:
        assert "over 8192 bytes" in await refused(desk, letter)
    assert desk.bridge.bridge.jobs.client.connected


KEYS = {name: f"{name}-key-{name}" for name in ("shop", "other")}
CALLERS = tuple(
    Caller(name=name, key_sha256=hashlib.sha256(key.encode()).hexdigest(), routes=("echo",))
    for name, key in KEYS.items()
)


async def look_at(desk, response, key):
    path = str(response.get("location"))
    return await desk.bridge.call(path, None, method="GET", headers=(("Authorization", f"Bearer {key}"),))


@pytest.mark.parametrize("caller", ["shop", ""])
async def test_the_job_belongs_to_the_caller_of_the_call(broker, queue, caller):
    async with a_desk(broker, queue, callers=CALLERS) as desk:
        await desk.park(**({"caller": caller} if caller else {}))
        async with ToldWorker(broker, desk.queue) as worker:
            response = await desk.replay(await desk.the_letter())
            assert (await worker.request(desk.queue)).get("caller") == (caller or None)
        assert (await look_at(desk, response, KEYS["shop"])).status == (200 if caller else 404)
        assert (await look_at(desk, response, KEYS["other"])).name == "no-job"
        assert (await look_at(desk, response, KEY)).name == "unauthenticated"  # the operator's key is no caller's


@pytest.mark.parametrize(("length", "fits"), [(254, True), (255, True), (256, False)])
async def test_a_callers_name_is_no_longer_than_the_store_takes(desk, length, fits):
    await desk.park(caller="c" * length)
    letter = await desk.the_letter()
    if fits:
        assert (await desk.replay(letter)).status == 202
    else:
        assert "over 255 characters" in await refused(desk, letter)


async def test_without_a_store_there_is_no_replay_and_the_letter_stays(broker, queue):
    async with a_desk(broker, queue, store=NO_STORE) as desk:
        await desk.park()
        letter = await desk.the_letter()
        response = await desk.replay(letter)
        assert (response.status, response.name, response.problem["ran"]) == (503, "store-unavailable", "no")
        assert response.get("retry-after") is not None
        assert (await desk.the_letter())["id"] == letter["id"]
        assert (await desk.ask(f"/{letter['id']}", "DELETE")).status == 204


async def test_a_bridge_that_leaves_replays_nothing(desk):
    await desk.park()
    letter = await desk.the_letter()
    desk.bridge.bridge.admission.draining = True
    response = await desk.replay(letter)
    assert (response.status, response.name) == (503, "draining")
    desk.bridge.bridge.admission.draining = False
    assert await desk.count(desk.poison) == 1
