"""Java programs that ask a worker of ours, without any HTTP."""

from __future__ import annotations

import asyncio
import re

import pytest
import pytest_asyncio

from consumers import Request
from tests.consumers.harness import running as working
from tests.consumers.harness import worker_of
from tests.java.programs import on_both

pytestmark = [pytest.mark.asyncio(loop_scope="module"), on_both]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ours(broker, queue):
    """A worker of ours with one handler for each thing that a requester may ask."""
    seen: list[Request] = []

    async def hello(request: Request) -> str:
        seen.append(request)
        return f"hello {request.text()}"

    worker = worker_of(queue("hello"), hello)

    @worker.handler(queue("silent"))
    async def silent(_: Request) -> str:
        return ""

    @worker.handler(queue("fails"))
    async def fails(_: Request) -> None:
        raise RuntimeError("on purpose")

    @worker.handler(queue("octets"))
    async def octets(_: Request) -> bytes:
        return b"\x00\xff"

    async with working(worker, broker):
        yield seen


async def ask(start, broker, how, queue, text="Ada"):
    program = await start(broker, "requester", how, queue, text, says=None)
    code = await program.end()
    return code, program.lines[0].partition(": ")[2]


@pytest.mark.parametrize("how", ["context", "requestor"])
async def test_a_text_is_answered_with_a_text(ours, start, broker, queue, how):
    assert await ask(start, broker, how, queue("hello"), "zwölf € 😀") == (0, "hello zwölf € 😀")


async def test_bytes_and_an_empty_text_are_what_they_are(ours, start, broker, queue):
    assert await ask(start, broker, "context", queue("octets")) == (0, "00ff")
    assert await ask(start, broker, "context", queue("silent")) == (0, "")


async def test_what_the_worker_sees_of_a_context(ours, start, broker, queue):
    ours.clear()
    await ask(start, broker, "context", queue("hello"))
    (request,) = ours
    assert 0 < request.remaining() < 10  # its time to live
    assert request.content_type == "text/plain"
    assert len(request.correlation_id) == 36
    assert (request.attempt, request.route) == (1, None)


async def test_without_a_correlation_id_the_reply_has_the_message_id_that_stomp_is_shown(ours, start, broker, queue):
    """On Classic that is the JMSMessageID, on Artemis a number that the requester has never seen."""
    ours.clear()
    await ask(start, broker, "requestor", queue("hello"))
    (request,) = ours
    assert request.remaining() is None
    assert re.fullmatch({"classic": r"ID:.+", "artemis": r"\d+,\d+"}[broker.kind], request.correlation_id)


async def test_a_handler_that_raises_is_told(ours, start, broker, queue):
    assert await ask(start, broker, "context", queue("fails")) == (1, "no answer: worker-failed")


async def test_two_requesters_at_once_get_their_own(ours, start, broker, queue):
    answers = await asyncio.gather(*(ask(start, broker, "context", queue("hello"), name) for name in ("Ada", "Bob")))
    assert answers == [(0, "hello Ada"), (0, "hello Bob")]
