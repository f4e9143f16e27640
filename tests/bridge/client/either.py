"""Both clients behind one face, so that each test is written once."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager
from typing import Any

from bridge.client import AsyncBridgeClient, BridgeClient

KINDS = ("blocking", "concurrent")


class Either:
    """Awaits what is to be awaited, and lets plain code run in a thread."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def do(self, function: Any, *arguments: Any, **options: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments, **options)
        return await asyncio.to_thread(function, *arguments, **options)

    async def call(self, *arguments: Any, **options: Any) -> Any:
        return await self.do(self.client.call, *arguments, **options)

    async def request(self, *arguments: Any, **options: Any) -> Any:
        return await self.do(self.client.request, *arguments, **options)

    async def submit(self, *arguments: Any, **options: Any) -> Any:
        return await self.do(self.client.submit, *arguments, **options)

    async def events(self, job: Any, seen: list[Any] | None = None, **options: Any) -> list[Any]:
        """Read all events; each is in ``seen`` as soon as it has come."""
        found: list[Any] = [] if seen is None else seen
        note, stream = found.append, job.events(**options)
        if hasattr(stream, "__aiter__"):
            async for event in stream:
                note(event)
        else:
            await asyncio.to_thread(found.extend, stream)
        return found


@asynccontextmanager
async def either(kind: str, addresses: Any, **options: Any):
    if kind == "blocking":
        with BridgeClient(addresses, **options) as client:
            yield Either(client)
    else:
        async with AsyncBridgeClient(addresses, **options) as other:
            yield Either(other)
