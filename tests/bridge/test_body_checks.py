"""Checks of bodies beside the loop: small at once, large in a thread, none longer than its call."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from bridge.problems import Problem
from bridge.schema import BodyChecks, BodyError, BodySchema
from bridge.schema.checking import AT_ONCE_BYTES, AT_ONCE_STEPS
from bridge.schema.work import TooMuchWorkError
from bridge.wheel import Wheel

NUMBERS = BodySchema({"items": {"type": "integer"}})
LONG = 60.0  # seconds


class Told:
    """A schema that does what a test says, and notes in which thread."""

    def __init__(self, *results):
        self.results = list(results)
        self.threads = []
        self.go = threading.Event()
        self.begun = threading.Event()

    def errors(self, body, steps, pause=None):
        self.threads.append(threading.current_thread())
        self.begun.set()
        if pause is not None:
            while not self.go.is_set():
                pause()
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
async def checks():
    wheel = Wheel()
    wheel.start()
    checks = BodyChecks(wheel)
    yield checks
    checks.stop()
    wheel.stop()
    assert len(wheel) == 0


async def refusal(work):
    with pytest.raises(Problem) as caught:
        await work
    return caught.value


async def test_a_small_body_is_checked_at_once(checks):
    told = Told([])
    await checks.check(told, "POST", b"x" * AT_ONCE_BYTES, LONG)
    assert told.threads == [threading.main_thread()]


async def test_a_large_body_is_checked_in_another_thread(checks):
    told = Told([])
    told.go.set()
    await checks.check(told, "POST", b"x" * (AT_ONCE_BYTES + 1), LONG)
    assert threading.main_thread() not in told.threads


async def test_a_small_body_that_is_much_work_goes_there_too(checks):
    told = Told(TooMuchWorkError(), [])
    told.go.set()
    await checks.check(told, "POST", b"x", LONG)
    assert [thread is threading.main_thread() for thread in told.threads] == [True, False]
    body = json.dumps([1] * AT_ONCE_STEPS).encode()
    assert len(body) <= AT_ONCE_BYTES
    await checks.check(NUMBERS, "POST", body, LONG)


async def test_errors_are_listed_with_their_pointers(checks):
    told = Told([BodyError("/a", "wrong"), BodyError("", "worse")])
    problem = await refusal(checks.check(told, "POST", b"x", LONG))
    assert (problem.name, problem.row.status, problem.row.ran) == ("invalid-body", 422, "no")
    assert problem.extra == {"errors": [{"pointer": "/a", "message": "wrong"}, {"pointer": "", "message": "worse"}]}


async def test_a_body_that_takes_too_much_work_is_invalid(checks):
    told = Told(TooMuchWorkError(), TooMuchWorkError())
    told.go.set()
    problem = await refusal(checks.check(told, "POST", b"x", LONG))
    assert problem.name == "invalid-body"
    assert "more work" in problem.extra["errors"][0]["message"]


async def test_the_loop_goes_on_meanwhile(checks):
    body = json.dumps([1] * 300_000).encode()
    check = asyncio.create_task(checks.check(NUMBERS, "POST", body, LONG))
    turns = 0
    while not check.done():
        await asyncio.sleep(0)
        turns += 1
    await check
    assert turns > 200


async def test_a_check_whose_time_is_over_ends_the_call_and_itself(checks):
    told = Told([])
    problem = await refusal(checks.check(told, "POST", b"x" * 5_000, 0.01))
    assert (problem.name, problem.ran, problem.extra) == ("deadline", "no", {"phase": "unknown"})
    after = Told([])
    after.go.set()
    await checks.check(after, "POST", b"x" * 5_000, LONG)  # the thread is free: the abandoned one has stopped


async def test_a_check_that_waits_for_its_turn_is_forgotten_when_its_call_is_cancelled(checks):
    first, second = Told([]), Told([])
    running = asyncio.create_task(checks.check(first, "POST", b"x" * 5_000, LONG))
    await asyncio.to_thread(first.begun.wait)
    waiting = asyncio.create_task(checks.check(second, "POST", b"x" * 5_000, LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.go.set()
    await running
    third = Told([])
    third.go.set()
    await checks.check(third, "POST", b"x" * 5_000, LONG)
    assert second.threads == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
async def test_a_request_without_content_has_nothing_to_check(checks, method):
    await checks.check(NUMBERS, method, b"", LONG)
    assert (await refusal(checks.check(NUMBERS, method, b"[0.5]", LONG))).name == "invalid-body"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_an_absent_body_is_not_json(checks, method):
    problem = await refusal(checks.check(NUMBERS, method, b"", LONG))
    assert problem.extra["errors"][0]["pointer"] == ""
