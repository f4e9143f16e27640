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
from tests.system.browser import browser

__all__ = ["browser", "carrier", "implementation", "queue"]

Working = Callable[..., Any]


@asynccontextmanager
async def run_worker(worker: Worker, slots: int = 1, *, at: Any, tracing: Any = None) -> AsyncIterator[Any]:
    """The worker serves, and drains at the end unless it was lost."""
    client, stop, ready = client_for(at), asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(worker.run(client, slots, stop, ready.set, tracing))
    try:
        async with asyncio.timeout(PATIENCE):
            await ready.wait()
        yield client
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await task


@pytest.fixture
def working(request: pytest.FixtureRequest) -> Working:
    """``async with working(worker, slots) as client``, with the test's own broker unless it says ``at=…``."""
    usual = request.getfixturevalue("carrier" if "carrier" in request.fixturenames else "broker")

    def run(worker: Worker, slots: int = 1, at: Any = None, **options: Any) -> Any:
        return run_worker(worker, slots, at=usual if at is None else at, **options)

    return run
