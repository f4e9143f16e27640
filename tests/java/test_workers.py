"""The examples that answer the bridge's calls: plain JMS, Spring Boot, Camel. Nothing of ours is in them."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from bridge.settings import Route
from tests.bridge.harness import running, settings_for

WORKERS = [(kind, worker) for kind in ("classic", "artemis") for worker in ("plain-jms", "spring-boot", "camel")]
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize(("broker_kind", "worker"), WORKERS, scope="session", indirect=["broker_kind"]),
]

WORDS = {"content-type": "text/plain"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bridge(worker, broker, start):
    """A bridge whose route is that of examples/bridge.toml, and a Java worker for it."""
    routes = [Route(name="words", path="/words", queue="words", timeout=20.0)]
    worker = await start(broker, worker)
    async with running(settings_for(broker, routes), "hypercorn") as bridge:
        yield bridge
    await worker.close()


def words(response):
    assert response.status == 200, response.body
    assert response.get("content-type") == "application/json"
    return json.loads(response.body)["words"]


async def test_a_text_is_answered(bridge):
    response = await bridge.call("/words", "zwölf Boxkämpfer € 😀".encode(), headers=(("Content-Type", "text/plain"),))
    assert words(response) == 4


async def test_bytes_are_answered(bridge):
    response = await bridge.call("/words", b"to be or not", headers=(("Content-Type", "application/octet-stream"),))
    assert words(response) == 4


async def test_a_failure_is_a_502_at_once_and_not_a_redelivery_without_end(bridge):
    response = await bridge.call("/words", b" ", headers=(("Content-Type", "text/plain"),))
    assert (response.status, response.name) == (502, "worker-failed")
    assert words(await bridge.call("/words", b"still here")) == 2


async def test_each_of_many_calls_gets_its_own_answer(bridge):
    calls = [asyncio.create_task(bridge.call("/words", b"word " * number)) for number in range(1, 51)]
    assert [words(await call) for call in calls] == list(range(1, 51))


async def test_a_job_is_done_by_the_durable_reply_queue(bridge):
    made = await bridge.call("/words", b"to be", headers=(("Prefer", "respond-async"),))
    assert made.status == 202
    location = made.get("location")
    result = await bridge.call(f"{location}/result", None, method="GET", headers=(("Prefer", "wait=15"),))
    assert words(result) == 2
    assert result.get("job-state") == "done"


async def test_the_worker_is_seen_as_listening(bridge):
    """So no call is refused with no-worker while a Java worker is idle between two messages."""
    for _ in range(20):
        assert words(await bridge.call("/words", b"a b c")) == 3
    queue = bridge.bridge.presence.queues["words"]
    assert queue.listeners == 4
