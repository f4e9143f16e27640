"""A worker of the command line: gives back what it was given, and takes its time for what begins with "slow"."""

from __future__ import annotations

import asyncio
from typing import Final

from consumers import Worker

QUEUE: Final = "ha.echo"
TAKES: Final = 0.3  # seconds, so that calls are held whenever a broker is killed

worker = Worker("ha")


@worker.handler(QUEUE)
async def echo(text: str) -> str:
    if text.startswith("slow"):
        await asyncio.sleep(TAKES)
    return f"echo {text}"
