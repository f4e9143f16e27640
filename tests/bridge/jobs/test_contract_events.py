"""`GET /jobs/{id}/events`, row by row, over HTTP and a real ActiveMQ."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from bridge.endpoints import job_events
from bridge.events import MAX_EVENT
from bridge.jobs import replies
from tests.bridge.callers import until
from tests.bridge.jobs.world import a_world

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = "application/json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker, implementation, queue):
    async with a_world(broker, queue, implementation) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    await world.forget()
    yield
    await world.bridge.at_rest()
    assert not len(world.bridge.bridge.jobs.followers)
    await until(lambda: not world.bridge.bridge.jobs._running.replies._early, "nothing waits for its turn")


def counts(world):
    return world.bridge.bridge.jobs._running.replies.counts


async def noted(world, before, number):
    await until(lambda: counts(world).noted == before + number, "they are in the store")


async def stray(world, before, number=1):
    await until(lambda: counts(world).stray == before + number, "it is dropped")


# -- what there is to read


async def test_a_reader_follows_a_job_from_its_start_to_its_reply(world):
    location, request = await world.begun()
    job_id = location.rpartition("/")[2]
    assert request.get("reply_kinds") == "started progress chunk"
    assert request.get("started_after_ms") == "50"
    async with world.follow(location) as reader:
        assert reader.head.startswith(b"http/1.1 200")
        for header in ("content-type: text/event-stream", "cache-control: no-store", "job-state: queued",
                       f"correlation-id: {job_id}", "server-timing: bridge"):  # fmt: skip
            assert header.encode() in reader.head
        await world.tell(request, "started", sequence="0", attempt="1")
        assert await reader.next() == ("started", 1, {"attempt": 1})
        await world.tell(request, "progress", b'{"percent": 50}', sequence="1", attempt="1")
        assert await reader.next() == ("progress", 2, {"percent": 50})
        job = json.loads((await world.get(location)).body)
        assert (job["state"], job["attempts"], job["progress"]) == ("running", 1, {"percent": 50})
        assert job["started"] is not None
        assert job["links"]["events"] == f"{location}/events"
        await world.tell(request, "chunk", b"half", content_type="text/plain", sequence="2", attempt="1")
        await world.tell(request, "chunk", b"\xff\x00", content_type="a/b", sequence="3", attempt="1")
        assert [await reader.next(), await reader.next()] == [
            ("chunk", 3, "half"),
            ("chunk", 4, {"body_base64": "/wA="}),
        ]
        await world.worker.reply(
            request, b"all", sequence="4", attempt="1", http_status="201", content_type="text/plain",
            http_header_etag='"1"',
        )  # fmt: skip
        assert await reader.rest() == [
            ("done", 5, {"status": 201, "content_type": "text/plain", "headers": {"etag": '"1"'}, "body": "all"})
        ]


async def test_a_job_that_is_over_has_its_events_still(world):
    location, request = await world.begun()
    await world.tell(request, "chunk", b"1")
    await world.worker.reply(request, b"all")
    await world.is_over(location)
    async with world.follow(location) as reader:
        assert b"job-state: done" in reader.head
        assert [(kind, number) for kind, number, _ in await reader.rest()] == [
            ("started", 1),
            ("chunk", 2),
            ("done", 3),
        ]


@pytest.mark.parametrize("ending", ["failed", "cancelled", "expired"])
async def test_the_end_is_always_said_as_the_result_says_it(world, ending):
    location, request = await world.begun()
    ahead = 0
    async with world.follow(location) as reader:
        if ending == "failed":
            await world.worker.reply(request, problem="worker-failed")
        elif ending == "cancelled":
            await world.delete(location)
        else:
            ahead = 3_700_000
            world.set_clock(ahead)
        try:
            ((kind, number, problem),) = await reader.rest()
            result = await world.get(location + "/result")
        finally:
            world.set_clock(-ahead)
    assert (kind, number) == ("failed", 1)
    assert problem == result.problem
    name = {"failed": "worker-failed", "cancelled": "job-cancelled", "expired": "deadline"}[ending]
    assert problem["type"] == f"/problems/{name}"


async def test_the_body_of_a_large_reply_is_left_to_the_result(world):
    for size in (MAX_EVENT, MAX_EVENT + 1):
        location, request = await world.begun()
        await world.worker.reply(request, b"x" * size, content_type="text/plain")
        await world.is_over(location)
        async with world.follow(location) as reader:
            ((_, _, data),) = await reader.rest()
        if size == MAX_EVENT:
            assert data["body"] == "x" * size
        else:
            usual = {"status": 200, "content_type": "text/plain", "headers": {}}
            assert data == usual | {"result": f"{location}/result"}


async def test_a_silence_is_filled_with_comments(world, monkeypatch):
    monkeypatch.setattr(job_events, "KEEP_ALIVE", 0.05)
    location, request = await world.begun()
    async with world.follow(location) as reader:
        await asyncio.sleep(0.3)
        await world.worker.reply(request, b"all")
        await reader.rest()
        assert reader.comments >= 2


async def test_head_has_the_headers_alone(world):
    location, _ = await world.begun()
    response = await world.bridge.call(location + "/events", None, method="HEAD")
    assert (response.status, response.get("content-type"), response.body) == (200, "text/event-stream", b"")


@pytest.mark.parametrize(
    ("route", "kinds", "after"),
    [("told", "started progress chunk", None), ("silent", "progress chunk", None), ("echo", "started", "50")],
)
async def test_a_job_asks_its_workers_for_what_its_route_says(world, route, kinds, after):
    _, request = await world.begun(route)
    assert (request.get("reply_kinds"), request.get("started_after_ms")) == (kinds, after)


async def test_how_far_an_expired_job_had_come_is_known_where_workers_tell(world):
    jobs = [await world.begun(route) for route in ("told", "told", "silent")]
    await world.tell(jobs[0][1], "started", attempt="1", sequence="0")
    async with world.follow(jobs[0][0]) as reader:
        await reader.next()
    world.set_clock(3_700_000)
    try:
        found = []
        for location, _ in jobs:
            await world.is_over(location)
            problem = (await world.get(location + "/result")).problem
            found.append((problem["phase"], problem["ran"]))
    finally:
        world.set_clock(-3_700_000)
    assert found == [("running", "yes"), ("queued", "maybe"), ("unknown", "maybe")]


# -- resuming


async def test_last_event_id_resumes_exactly_behind_it(world):
    location, request = await world.begun()
    for at in range(1, 6):
        await world.tell(request, "chunk", b"%d" % at, sequence=str(at))
    async with world.follow(location) as reader:
        seen = [await reader.next() for _ in range(6)]
    assert [number for _, number, _ in seen] == [1, 2, 3, 4, 5, 6]
    for after in range(7):
        async with world.follow(location, after) as reader:
            assert [await reader.next() for _ in range(6 - after)] == seen[after:]
    async with world.follow(location, 6) as reader:
        await world.tell(request, "chunk", b"6", sequence="6")
        assert await reader.next() == ("chunk", 7, 6)


async def test_a_reader_who_has_had_the_last_event_is_told_not_to_come_again(world):
    location, request = await world.begun()
    await world.worker.reply(request, b"all")
    await world.is_over(location)
    async with world.follow(location, 0) as reader:
        assert await reader.rest() == [
            (
                "done",
                1,
                json.loads(b'{"status":200,"content_type":"application/octet-stream","headers":{},"body":"all"}'),
            )
        ]
    response = await world.bridge.call(location + "/events", None, method="GET", headers=(("Last-Event-ID", "1"),))
    assert (response.status, response.get("job-state"), response.body) == (204, "done", b"")


@pytest.mark.parametrize("value", ["x", "-1", "1.0", "0x1", "1 2", "1,2", "1" * 19, "\u00b2", "1\t2", "2"])
async def test_a_malformed_last_event_id_is_refused(world, value):
    location, _ = await world.begun()
    headers = (("Last-Event-ID", value),)
    response = await world.bridge.call(location + "/events", None, method="GET", headers=headers)
    assert (response.status, response.name, response.problem["field"]) == (400, "invalid-request", "last-event-id")


async def test_two_last_event_ids_are_refused_and_an_empty_one_is_none(world):
    location, request = await world.begun()
    headers = (("Last-Event-ID", "0"), ("Last-Event-ID", "0"))
    response = await world.bridge.call(location + "/events", None, method="GET", headers=headers)
    assert (response.status, response.name) == (400, "invalid-request")
    async with world.follow(location, "") as reader:
        await world.worker.reply(request, b"all")
        assert [kind for kind, _, _ in await reader.rest()] == ["done"]


async def test_who_resumes_behind_parts_that_are_not_kept_is_told_and_a_newcomer_gets_the_rest(world):
    location, request = await world.begun()
    value, before = json.dumps("x" * 60_000).encode(), counts(world).noted
    for at in range(1, 31):
        await world.tell(request, "chunk", value, sequence=str(at))
    await noted(world, before, 30)
    headers = (("Last-Event-ID", "2"),)
    response = await world.bridge.call(location + "/events", None, method="GET", headers=headers)
    assert (response.status, response.name) == (408, "slow-reader")
    await world.worker.reply(request, b"all")
    await world.is_over(location)
    async with world.follow(location) as reader:
        found = await reader.rest()
    assert found[-1][:2] == ("done", 32)
    numbers = [number for _, number, _ in found]
    assert numbers == list(range(numbers[0], 33))
    assert 17 <= len(found) - 1 < 30


async def test_who_resumes_behind_progress_that_is_not_kept_goes_on_with_what_is(world):
    location, request = await world.begun()
    value, before = json.dumps("x" * 60_000).encode(), counts(world).noted
    for at in range(1, 31):
        await world.tell(request, "progress", value, sequence=str(at))
        await noted(world, before, at)  # so that each is stored
    await world.worker.reply(request, b"all")
    await world.is_over(location)
    async with world.follow(location, 2) as reader:
        found = await reader.rest()
    assert found[0][1] > 3
    assert found[-1][0] == "done"


# -- what workers say wrongly


async def test_a_gap_is_waited_for_and_then_left_out_of_the_numbers(world, monkeypatch):
    monkeypatch.setattr(replies, "PATIENCE", 0.2)
    location, request = await world.begun()
    async with world.follow(location) as reader:
        await world.tell(request, "chunk", b"1", attempt="1", sequence="1")
        assert [await reader.next(), await reader.next()] == [("started", 1, {"attempt": 1}), ("chunk", 2, 1)]
        gaps = counts(world).gaps
        await world.tell(request, "chunk", b"4", attempt="1", sequence="4")
        assert await reader.next() == ("chunk", 4, 4)
        assert counts(world).gaps == gaps + 1
        before = counts(world).stray
        await world.tell(request, "chunk", b"3", attempt="1", sequence="3")  # after all, and too late
        await stray(world, before)
        await world.worker.reply(request, b"all", attempt="1", sequence="5")
        assert [kind for kind, _, _ in await reader.rest()] == ["done"]


async def test_words_that_come_in_another_order_are_put_right(world):
    location, request = await world.begun()
    await world.worker.reply(request, b"all", attempt="1", sequence="4")
    for at in (3, 2, 1):
        await world.tell(request, "chunk", b"%d" % at, attempt="1", sequence=str(at))
    async with world.follow(location) as reader:
        assert [data for kind, _, data in await reader.rest() if kind == "chunk"] == [1, 2, 3]
    assert (await world.get(location + "/result")).body == b"all"


async def test_a_reply_whose_forerunners_never_come_is_the_answer_all_the_same(world, monkeypatch):
    monkeypatch.setattr(replies, "PATIENCE", 0.2)
    location, request = await world.begun()
    await world.worker.reply(request, b"all", attempt="1", sequence="9")
    assert (await world.is_over(location))["state"] == "done"
    assert (await world.get(location + "/result")).body == b"all"


async def test_replies_before_their_turn_do_not_keep_other_jobs_waiting(world, monkeypatch):
    monkeypatch.setattr(replies, "PATIENCE", 3_600.0)
    begun = [await world.begun() for _ in range(70)]  # more than the broker gives without an ACK
    for _, request in begun:
        await world.worker.reply(request, b"early", attempt="1", sequence="2")
    other, other_request = await world.begun()
    await world.worker.reply(other_request, b"mine")
    assert (await world.is_over(other))["state"] == "done"
    for _, request in begun:
        await world.tell(request, "progress", b"1", attempt="1", sequence="1")
    for location, _ in begun:
        assert (await world.is_over(location))["state"] == "done"


async def test_words_of_a_lower_attempt_are_dropped_and_so_is_its_reply(world):
    location, request = await world.begun()
    async with world.follow(location) as reader:
        await world.tell(request, "progress", b"1", attempt="1", sequence="1")
        await world.tell(request, "started", attempt="2", sequence="0")
        before = counts(world).stray
        await world.tell(request, "progress", b"2", attempt="1", sequence="2")
        await world.worker.reply(request, b"of the first", attempt="1", sequence="3")
        await stray(world, before, 2)
        await world.tell(request, "progress", b"5", attempt="2", sequence="1")
        await world.worker.reply(request, b"of the second", attempt="2", sequence="2")
        assert [(kind, data) for kind, _, data in (await reader.rest())[:-1]] == [
            ("started", {"attempt": 1}),
            ("progress", 1),
            ("started", {"attempt": 2}),
            ("progress", 5),
        ]
    job = await world.is_over(location)
    assert (job["attempts"], job["progress"]) == (2, 5)
    assert (await world.get(location + "/result")).body == b"of the second"


async def test_a_reply_that_does_not_say_its_attempt_is_of_the_highest(world):
    location, request = await world.begun()
    await world.tell(request, "started", attempt="2", sequence="0")
    await world.worker.reply(request, b"plain")
    assert (await world.is_over(location))["attempts"] == 2


async def test_a_chunk_after_the_final_reply_is_dropped(world):
    location, request = await world.begun()
    before = counts(world).stray
    await world.worker.reply(request, b"all")
    await world.tell(request, "chunk", b"1")
    await stray(world, before)
    async with world.follow(location) as reader:
        assert [kind for kind, _, _ in await reader.rest()] == ["done"]


async def test_words_for_a_cancelled_job_are_dropped_and_who_begins_it_is_told_again(world):
    location, request = await world.begun()
    await world.delete(location)
    withdrawn = []
    world.bridge.bridge.jobs._running.replies._withdraw = withdrawn.append
    before = counts(world).stray
    await world.tell(request, "started", attempt="1", sequence="0")
    await world.tell(request, "chunk", b"1", attempt="1", sequence="1")
    await stray(world, before, 2)
    assert withdrawn == [location.rpartition("/")[2]]
    assert json.loads((await world.get(location)).body)["attempts"] == 0


async def test_a_part_that_is_too_large_is_left_out_of_the_numbers_and_the_job_goes_on(world):
    location, request = await world.begun()
    await world.tell(request, "chunk", b"1", sequence="1")
    await world.tell(request, "chunk", b"x" * (MAX_EVENT + 1), content_type="text/plain", sequence="2")
    await world.tell(request, "chunk", b"3", sequence="3")
    await world.worker.reply(request, b"all", sequence="4")
    async with world.follow(location) as reader:
        assert [(kind, number) for kind, number, _ in await reader.rest()] == [
            ("started", 1), ("chunk", 2), ("chunk", 4), ("done", 5),
        ]  # fmt: skip


@pytest.mark.parametrize("properties", [{"attempt": "x", "sequence": "y"}, {"attempt": "", "sequence": "9" * 30}])
async def test_numbers_that_are_none_are_as_if_not_said(world, properties):
    location, request = await world.begun()
    await world.tell(request, "progress", b"1", **properties)
    await world.worker.reply(request, b"all", **properties)
    assert (await world.is_over(location))["progress"] == 1


# -- readers


async def test_readers_count_as_held_and_end_when_the_bridge_drains(broker, implementation, queue):
    async with a_world(broker, lambda name: queue(f"own.{name}"), implementation, max_held=1) as world:
        location, _ = await world.begun()
        async with world.follow(location) as reader:
            await until(lambda: world.bridge.bridge.admission.held == 1, "it is held")
            assert (await world.get(location + "/events")).name == "bridge-full"
            world.bridge.stopping.set()
            assert await reader.rest() == []
        world.worker.forget()


async def test_a_reader_who_leaves_is_forgotten(world):
    location, _ = await world.begun()
    async with world.follow(location):
        await until(lambda: world.bridge.bridge.admission.held == 1, "it is held")
    await until(lambda: world.bridge.bridge.admission.held == 0, "it is forgotten")


async def test_a_reader_who_takes_nothing_is_given_up_and_costs_the_worker_nothing(world, monkeypatch):
    from tests.bridge.callers import Caller
    from tests.bridge.callers import request as encoded

    monkeypatch.setattr(job_events, "STALLED", 0.3)
    location, request = await world.begun()
    async with await Caller.connect(world.bridge.port, receive_buffer=4096) as caller:
        await caller.send(encoded(location + "/events", None, method="GET"))
        value = json.dumps("x" * 60_000).encode()
        for at in range(1, 200):
            await world.tell(request, "chunk", value, sequence=str(at))
        await until(lambda: not len(world.bridge.bridge.jobs.followers), "it is given up")
        await world.worker.reply(request, b"all")
        await world.is_over(location)


@pytest.mark.parametrize("job_id", ["0" * 32, "x", "A" * 32])
async def test_the_events_of_no_job(world, job_id):
    response = await world.get(f"/jobs/{job_id}/events")
    assert (response.status, response.name) == (404, "no-job")


async def test_the_events_of_a_job_that_was_cleaned_away(world):
    location, _ = await world.finished()
    world.set_clock(2 * 24 * 3_600 * 1_000)
    try:
        assert (await world.get(location + "/events")).name == "job-gone"
    finally:
        world.set_clock(-2 * 24 * 3_600 * 1_000)


async def test_other_methods_are_not_allowed_on_events(world):
    location, _ = await world.begun()
    for method in ("POST", "DELETE"):
        response = await world.bridge.call(location + "/events", b"", method=method)
        assert (response.status, response.name, response.get("allow")) == (405, "method-not-allowed", "GET, HEAD")
