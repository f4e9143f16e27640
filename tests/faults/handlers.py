"""The workers of the fault suite: ``mqbridge work tests.faults.handlers:worker``.

A body is a nonce and what is to be done, e.g. ``n-ab-1-17 work 20``. Each beginning is written down before anything
else is done, and at once: it is there although the worker is killed in the next instant.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from consumers import Request, Worker
from tests.faults.history import NONE, Begun, Ended, Journal, now

NAME = os.environ["FAULTS_WORKER"]
QUEUE = os.environ["FAULTS_QUEUE"]

journal = Journal(Path(os.environ["FAULTS_FOLDER"]) / f"{NAME}.journal")
worker = Worker(NAME)


@worker.handler(QUEUE)
async def work(request: Request) -> str:
    """Do what the body says; the answer has its nonce."""
    nonce, what, *more = [*request.text().split(), NONE][:3]
    journal.write(Begun(nonce, now(), NAME, request.attempt, request.message.deadline_ms or 0))
    how = "failed"
    try:
        await do(what, more)
        how = "replied"
    except asyncio.CancelledError:
        how = "cancelled"
        raise
    finally:
        journal.write(Ended(nonce, now(), NAME, how))
    return f"re {nonce}"


async def do(what: str, more: list[str]) -> None:
    """Work for some milliseconds, hang, hang and not listen, or kill this very process."""
    if what == "work":
        await asyncio.sleep(int(more[0]) / 1_000)
    elif what == "hang":
        await asyncio.Event().wait()
    elif what == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    while what == "deaf":
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
