"""What is tested here needs all of it: callers, a bridge, a real broker and workers of the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from consumers import Worker
from tests.bridge.callers import PATIENCE
from tests.bridge.conftest import carrier, implementation, queue
from tests.bridge.harness import client_for

__all__ = ["carrier", "implementation", "queue"]

Working = Callable[..., Any]


@pytest.fixture
def working(request: pytest.FixtureRequest) -> Working:
    """``async with working(worker, slots) as client``: the worker serves, and drains at the end unless it was lost."""

    usual = request.getfixturevalue("carrier" if "carrier" in request.fixturenames else "broker")

    @asynccontextmanager
    async def run(worker: Worker, slots: int = 1, at: Any = usual) -> AsyncIterator[Any]:
        client, stop, ready = client_for(at), asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(worker.run(client, slots, stop, ready.set))
        try:
            async with asyncio.timeout(PATIENCE):
                await ready.wait()
            yield client
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE):
                await task

    return run
