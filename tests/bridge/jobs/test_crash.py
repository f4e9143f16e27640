"""Bridges that are killed at any instant: no accepted job is lost, no answer is doubled."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import AsyncExitStack, closing
from typing import Any

import pytest

from activemq.frames import encode
from tests.bridge.callers import PATIENCE, Response, call, until
from tests.bridge.harness import ToldWorker
from tests.bridge.jobs.world import ASYNC, Reader, key
from tests.bridge.processes import Echo, Process

pytestmark = [pytest.mark.slow, pytest.mark.every_broker]

AT_ONCE = 16
PARTS = 20
MAKING_FOR = 10.0  # seconds, so that several kills fall among them
KILL_EVERY = (0.2, 1.5)  # seconds after it is ready


class Talker(Echo):
    """A worker that says :data:`PARTS` parts of each answer before it."""

    def _take(self, frame: Any) -> None:
        self.ran[frame.body.decode()] += 1
        usual = [("destination", frame.get("reply-to")), ("correlation-id", frame.get("correlation-id"))]
        usual += [("persistent", "true"), ("attempt", frame.get("attempt"))]
        for part in range(1, PARTS + 1):
            headers = [*usual, ("reply_kind", "chunk"), ("sequence", str(part)), ("content_type", "application/json")]
            self.client.send(encode("SEND", headers, b"%d" % part))
        self.client.send(encode("SEND", [*usual, ("sequence", str(PARTS + 1))], b"echo " + frame.body))


async def make_job(bridges: list[Process], number: int) -> str:
    """Make a job at the first bridge, again if it dies; return where it is. Even ones have a key."""
    attempt = 0
    while True:
        body = f"{number}" if number % 2 == 0 else f"{number}-{attempt}"
        headers = (ASYNC, key(f"key-{number}")) if number % 2 == 0 else (ASYNC,)
        try:
            response = await call(bridges[0].port, "/echo", body.encode(), headers=headers)
        except (OSError, EOFError):  # it died: nobody knows
            attempt += 1
            await asyncio.sleep(0.05)
            continue
        if response.status in (200, 202):
            return f"{response.get('correlation-id')} {body}"
        assert response.status == 503, response
        attempt += response.problem["ran"] != "no"
        await asyncio.sleep(0.05)


async def result(bridge: Process, job_id: str) -> Response:
    async with asyncio.timeout(3 * PATIENCE):
        while True:
            response = await call(
                bridge.port, f"/jobs/{job_id}/result", None, method="GET", headers=(("Prefer", "wait=10"),)
            )
            if response.get("job-state") not in ("queued", "running"):
                return response


@pytest.mark.timeout(1_800)
async def test_a_bridge_is_killed_again_and_again_and_every_accepted_job_has_its_result(
    broker, queue, tmp_path, request
):
    number = request.config.getoption("--kill-jobs")
    bridges = [Process(broker, tmp_path, queue("crash"), name) for name in ("first", "second")]
    worker = Echo(broker, queue("crash"))
    chance = random.Random(4711)
    kills = 0
    try:
        await asyncio.gather(*(bridge.start() for bridge in bridges))
        async with worker.client:
            await worker.client.wait_connected()
            limit = asyncio.Semaphore(AT_ONCE)
            pace = MAKING_FOR * AT_ONCE / number

            async def one(which: int) -> str:
                async with limit:
                    made = await make_job(bridges, which)
                    await asyncio.sleep(pace)
                    return made

            making = [asyncio.create_task(one(which)) for which in range(number)]
            while not all(task.done() for task in making):
                await asyncio.sleep(chance.uniform(*KILL_EVERY))
                bridges[0].kill()
                kills += 1
                await bridges[0].start()
            accepted = [task.result().split(" ") for task in making]
            assert kills > 1
            for job_id, body in accepted:  # from the bridge that was not killed
                response = await result(bridges[1], job_id)
                assert (response.status, response.body) == (200, f"echo {body}".encode()), (job_id, response)
            assert len({job_id for job_id, _ in accepted}) == number
            # Twice only what was on its way when a bridge died.
            twice = sum(count > 1 for count in worker.ran.values())
            print(f"{number} jobs, {kills} kills, {twice} ran twice")
            assert twice <= kills * AT_ONCE
    finally:
        for bridge in bridges:
            bridge.kill()


@pytest.mark.timeout(600)
async def test_a_bridge_is_killed_again_and_again_and_no_part_of_an_answer_is_lost_or_out_of_order(
    broker, queue, tmp_path
):
    bridges = [Process(broker, tmp_path, queue("talk"), name, route="stream = true\n") for name in ("first", "second")]
    worker = Talker(broker, queue("talk"))
    chance = random.Random(42)
    try:
        await asyncio.gather(*(bridge.start() for bridge in bridges))
        async with worker.client:
            await worker.client.wait_connected()
            for _ in range(4):
                making = [asyncio.create_task(make_job(bridges[1:], chance.randrange(10**9))) for _ in range(25)]
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                bridges[0].kill()
                made = [(await task).split(" ")[0] for task in making]
                await bridges[0].start()
                for job_id in made:
                    async with Reader(bridges[1].port, f"/jobs/{job_id}/events") as reader:
                        found = await reader.rest()
                    assert [data for kind, _, data in found if kind == "chunk"] == list(range(1, PARTS + 1))
                    assert [number for _, number, _ in found] == list(range(1, PARTS + 3))
                    assert found[-1][0] == "done"
    finally:
        for bridge in bridges:
            bridge.kill()


async def test_200_calls_with_one_key_are_one_execution_although_a_bridge_is_killed(broker, queue, tmp_path):
    bridges = [Process(broker, tmp_path, queue("one-key"), name) for name in ("first", "second")]
    async with AsyncExitStack() as stack:
        for bridge in bridges:
            stack.callback(bridge.kill)
        await asyncio.gather(*(bridge.start() for bridge in bridges))
        worker = await stack.enter_async_context(ToldWorker(broker, queue("one-key")))

        async def one(number: int) -> Response:
            at = number % 2
            while True:
                try:
                    return await call(bridges[at].port, "/echo", b"x", headers=(key("the-key"),))
                except (OSError, EOFError):
                    at = 1  # its bridge was killed: it tries the other one

        calls = [asyncio.create_task(one(number)) for number in range(200)]
        request = await worker.request(queue("one-key"))
        await until(lambda: _is_sent(tmp_path / "jobs.db"), "the store knows that it was sent")
        bridges[0].kill()
        await asyncio.sleep(0)
        await worker.reply(request, b"the only one", persistent="true")
        answers = [await calling for calling in calls]
        assert {(one.status, one.body, one.get("correlation-id")) for one in answers} == {
            (200, b"the only one", request.get("correlation-id"))
        }
        assert worker.waiting(queue("one-key")) == 0


def _is_sent(path: Any) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        (sent,) = connection.execute("SELECT count(*) FROM jobs WHERE sent_ms IS NOT NULL").fetchone()
        return bool(sent)
