"""Two bridges behind a load balancer with the configuration that we ship: held calls, events, a killed bridge."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.settings import Route
from consumers import Request, Worker
from tests.balancers import DEPLOY, Balancer, HaProxy, Nginx
from tests.bridge.callers import PATIENCE, Caller, Response, call, request, until
from tests.bridge.jobs.world import key
from tests.bridge.processes import Process

pytestmark = pytest.mark.slow
TEXT = ("Content-Type", "text/plain")


@pytest.fixture(params=[Nginx, HaProxy], ids=["nginx", "haproxy"])
def kind(request: pytest.FixtureRequest) -> type[Balancer]:
    return request.param


class Work:
    """A worker whose handlers wait until they are let go."""

    def __init__(self, queue: str) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.running: set[str] = set()
        self.cancelled: list[str] = []
        self.forwarded: Counter[str] = Counter()
        self.worker = Worker()
        self.worker.handler(queue)(self.handle)

    async def handle(self, asked: Request) -> str:
        nonce = asked.text()
        self.running.add(nonce)
        asked.progress({"nonce": nonce})
        self.forwarded.update(name for name in asked.headers if name != "accept-language")
        try:
            await self.go.wait()
            if nonce.startswith("nap"):
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.cancelled.append(nonce)
            raise
        finally:
            self.running.discard(nonce)
        return f"echo {nonce}"


@dataclass
class Two:
    """The balancer and what is behind it."""

    port: int
    bridges: list[Process]
    work: Work

    async def call(self, nonce: str, *headers: tuple[str, str], target: str = "/echo") -> Response:
        return await call(self.port, target, nonce.encode(), headers=(TEXT, *headers), host="api.example.com")


@asynccontextmanager
async def two(kind: type[Balancer], broker: Any, queue: Any, working: Any, folder: Path) -> AsyncIterator[Two]:
    name = queue(f"balanced-{kind.program}-{folder.name}"[:60])
    extra = 'allow_anonymous = true\npublic_url = "https://api.example.com"\n'
    route = 'stream = true\npass_headers = ["x-forwarded-for", "x-forwarded-user", "via", "forwarded"]\n'
    bridges = [Process(broker, folder, name, f"bridge-{number}", server=extra, route=route) for number in (1, 2)]
    async with AsyncExitStack() as stack:
        for bridge in bridges:
            stack.callback(bridge.kill)
        await asyncio.gather(*(bridge.start() for bridge in bridges))
        work = Work(name)
        await stack.enter_async_context(working(work.worker, 16))
        addresses = tuple(f"127.0.0.1:{bridge.port}" for bridge in bridges)
        balancer = stack.enter_context(kind(folder, addresses))
        yield Two(balancer.port, bridges, work)


@pytest.fixture
async def balanced(kind: type[Balancer], broker: Any, queue: Any, working: Any, tmp_path: Path) -> AsyncIterator[Two]:
    async with two(kind, broker, queue, working, tmp_path) as made:
        yield made


async def test_calls_go_to_both_and_each_has_its_own_answer(balanced: Two) -> None:
    balanced.work.go.clear()
    calls = [asyncio.create_task(balanced.call(f"{number}")) for number in range(12)]
    await until(lambda: len(balanced.work.running) == 12, "all are held")
    balanced.work.go.set()
    answers = await asyncio.gather(*calls)
    assert [(one.status, one.body) for one in answers] == [(200, f"echo {n}".encode()) for n in range(12)]
    assert all(len(one.all("server-timing")) == len(one.all("correlation-id")) == 1 for one in answers)


async def test_a_problem_comes_through_as_it_is(balanced: Two) -> None:
    answer = await balanced.call("x", target="/nowhere")
    assert (answer.status, answer.name) == (404, "no-route")
    assert answer.problem["type"].startswith("https://api.example.com/problems/")


async def test_a_body_that_is_too_large_is_refused_before_it_has_come(balanced: Two) -> None:
    async with await Caller.connect(balanced.port) as caller:
        await caller.send(request("/echo", None, headers=(TEXT, ("Content-Length", "2000000")), host="api.example.com"))
        assert (await caller.response()).status == 413


async def test_what_callers_say_of_themselves_goes_no_further(balanced: Two) -> None:
    claims = [("X-Forwarded-For", "10.0.0.1"), ("Forwarded", "for=10.0.0.1"), ("Via", "1.1 elsewhere")]
    assert (await balanced.call("x", *claims)).status == 200
    assert not balanced.work.forwarded


@pytest.mark.parametrize("page", ["/-/live", "/-/api/status"])
async def test_the_inner_pages_are_not_to_be_had_from_outside(balanced: Two, page: str) -> None:
    answer = await call(balanced.port, page, None, method="GET", host="api.example.com")
    assert answer.status == 404
    assert not answer.is_problem


async def test_events_come_as_they_are_made(balanced: Two) -> None:
    balanced.work.go.clear()
    async with await Caller.connect(balanced.port) as caller:
        await caller.send(
            request("/echo", b"e", headers=(TEXT, ("Accept", "text/event-stream")), host="api.example.com")
        )
        seen = await caller.raw_until(b'{"nonce":"e"}\n\n')  # before there is a reply
        assert b"event: progress" in seen
        assert balanced.work.running == {"e"}
        balanced.work.go.set()
        done = await caller.raw_until(b"\n\n")
        assert json.loads(done.partition(b"data: ")[2])["body"] == "echo e"


async def test_a_caller_who_leaves_cancels_the_work(balanced: Two) -> None:
    balanced.work.go.clear()
    async with await Caller.connect(balanced.port) as caller:
        await caller.send(request("/echo", b"gone", headers=(TEXT,), host="api.example.com"))
        await until(lambda: balanced.work.running == {"gone"})
    await until(lambda: balanced.work.cancelled == ["gone"], "the handler is stopped")


async def test_a_bridge_that_is_killed_costs_what_it_held_and_nothing_later(balanced: Two) -> None:
    balanced.work.go.clear()
    calls = [asyncio.create_task(balanced.call(f"{number}")) for number in range(12)]
    await until(lambda: len(balanced.work.running) == 12, "all are held")
    balanced.bridges[0].kill()
    # Least connections: half of them were there. What is cut is said to be, by the balancer or by a close.
    await until(lambda: sum(one.done() for one in calls) == 6, "half of them are over")
    balanced.work.go.set()
    answers = [await outcome(one) for one in calls]
    own = [(number, one) for number, one in enumerate(answers) if isinstance(one, Response) and one.status == 200]
    assert [one.body for _, one in own] == [f"echo {number}".encode() for number, _ in own]
    assert len(own) == 6
    assert all(not isinstance(one, Response) or one.status in (200, 502) for one in answers)
    later = await asyncio.gather(*(balanced.call(f"{number}") for number in range(40)))
    assert Counter(one.status for one in later) == {200: 40}


async def outcome(one: asyncio.Task[Response]) -> Response | Exception:
    try:
        return await one
    except (OSError, EOFError) as error:
        return error


async def test_with_a_key_a_caller_gets_its_answer_although_a_bridge_is_killed(balanced: Two) -> None:
    done = 0

    async def one(number: int) -> Response:
        nonlocal done
        while True:
            try:
                response = await balanced.call(f"nap {number}", key(f"key-{number}"))
            except (OSError, EOFError):
                await asyncio.sleep(0.05)
                continue
            if response.status == 200:
                done += 1
                return response
            assert response.status in (502, 503), response
            await asyncio.sleep(0.1)

    limit = asyncio.Semaphore(16)

    async def limited(number: int) -> Response:
        async with limit:
            return await one(number)

    calls = [asyncio.create_task(limited(number)) for number in range(150)]
    await until(lambda: done > 50)
    balanced.bridges[1].kill()
    async with asyncio.timeout(3 * PATIENCE):
        answers = await asyncio.gather(*calls)
    assert [one.body for one in answers] == [f"echo nap {number}".encode() for number in range(150)]
    assert len({one.get("correlation-id") for one in answers}) == 150


async def test_a_bridge_that_drains_is_left_without_anybody_noticing(balanced: Two) -> None:
    balanced.work.go.clear()
    calls = [asyncio.create_task(balanced.call(f"{number}")) for number in range(8)]
    await until(lambda: len(balanced.work.running) == 8, "all are held")
    balanced.bridges[0].signal(signal.SIGTERM)
    balanced.work.go.set()
    answers = await asyncio.gather(*calls)
    assert [one.status for one in answers] == [200] * 8
    await until(balanced.bridges[0].ended, "it has drained")
    later = await asyncio.gather(*(balanced.call(f"{number}") for number in range(40)))
    assert Counter(one.status for one in later) == {200: 40}


@pytest.mark.parametrize(
    ("file", "pattern"), [("nginx.conf", r"proxy_read_timeout (\d+)s;"), ("haproxy.cfg", r"timeout server (\d+)s")]
)
def test_the_shipped_timeouts_are_longer_than_a_call_may_be_held(file: str, pattern: str) -> None:
    (seconds,) = re.findall(pattern, (DEPLOY / file).read_text())
    assert int(seconds) > Route(name="r", path="/r", queue="r").timeout
