"""Short jobs never wait behind long ones, and urgent ones go first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.settings import Route
from consumers import Request, Worker
from tests.bridge.callers import until
from tests.bridge.harness import running, settings_for

pytestmark = pytest.mark.every_broker


async def test_short_jobs_are_answered_while_a_hundred_long_ones_are_queued(
    carrier: Any, queue: Any, working: Any
) -> None:
    long, short, go_on, running_long = queue("lane.long"), queue("lane.short"), asyncio.Event(), []
    worker = Worker(reserve={short: 2})

    @worker.handler(long)
    async def take_long(request: Request) -> str:
        running_long.append(request.text())
        await go_on.wait()
        return "long"

    @worker.handler(short)
    async def be_quick(text: str) -> str:
        return text

    routes = [
        Route(name="long", path="/long", queue=long, timeout=60.0),
        Route(name="short", path="/short", queue=short, timeout=60.0),
    ]
    async with running(settings_for(carrier, routes), "uvicorn") as bridge, working(worker, 8):
        waiting = [asyncio.create_task(bridge.call("/long", b"%d" % number)) for number in range(100)]
        await until(lambda: len(running_long) == 6, "six slots are taken by long jobs")
        await bridge.held(100)
        answers = await asyncio.gather(*(bridge.call("/short", b"%d" % number) for number in range(50)))
        assert [answer.body for answer in answers] == [b"%d" % number for number in range(50)]
        assert len(running_long) == 6
        assert not any(task.done() for task in waiting)
        go_on.set()
        assert {answer.body for answer in await asyncio.gather(*waiting)} == {b"long"}


async def test_of_what_is_queued_the_urgent_goes_first(carrier: Any, queue: Any, working: Any) -> None:
    name, order, go_on = queue("priority"), [], asyncio.Event()
    worker = Worker()

    @worker.handler(name)
    async def note(text: str) -> None:
        order.append(text)
        await go_on.wait()

    route = Route(name="q", path="/q", queue=name, timeout=30.0, priority_ceiling=7)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, working(worker):
        calls = [asyncio.create_task(bridge.call("/q", b"first"))]
        await until(lambda: order == ["first"], "the only slot is taken")
        for urgency in (7, 3, 0, 1):
            calls.append(
                asyncio.create_task(bridge.call("/q", b"u=%d" % urgency, headers=(("priority", f"u={urgency}"),)))
            )
            await bridge.held(len(calls))
        go_on.set()
        await asyncio.gather(*calls)
        # u=0 is held down to the route's ceiling, which is what u=1 asks for: first come, first served
        assert order == ["first", "u=0", "u=1", "u=3", "u=7"]
