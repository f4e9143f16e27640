"""The demo's scenes with jobs: answered at once, followed, cancelled, and not done twice."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from mqbridge.commands.stage import Stage, problem_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ASYNC: Final = "respond-async"


async def fetched_later(stage: Stage) -> None:
    """Show a 202 with its Location; then the result."""
    location = (await stage.send("POST", "/batches/4", 202, prefer=ASYNC)).headers["location"]
    stage.tell("The caller may go away now. Later, and for as long as it wants to wait:")
    result = await stage.send("GET", f"{location}/result", 200, prefer="wait=20")
    done = result.headers.get("job-state") == "done" and result.json().get("items") == 4
    stage.check("this is the worker's answer, as a held call would have had it", holds=done)


async def followed(stage: Stage) -> None:
    """Show the events of a job, one line each."""
    location = (await stage.send("POST", "/batches/6", 202, brief=True, prefer=ASYNC)).headers["location"]
    events = [event async for event in stage.events(f"{location}/events")]
    counts = [event.data["done"] for event in events if event.name == "progress"]
    complete = bool(events) and events[-1].name == "done" and counts == sorted(set(counts)) and len(counts) > 1
    stage.check("progress rose, and the last event has the answer", holds=complete)


async def cancelled(stage: Stage) -> None:
    """Cancel a job whose handler runs: its worker stops it."""
    location = (await stage.send("POST", "/batches/1000", 202, brief=True, prefer=ASYNC)).headers["location"]
    async with aclosing(stage.events(f"{location}/events")) as events:
        async for event in events:
            if event.name == "progress":
                break
    await stage.worker_says(f"{location.rpartition('/')[2]} was stopped", stage.send("DELETE", location, 204))
    gone = await stage.send("GET", f"{location}/result", 410)
    stage.check("whoever asks is told that it was cancelled", holds=problem_of(gone) == "job-cancelled")


async def not_done_twice(stage: Stage) -> None:
    """Send the same key again: the recorded answer, of one execution."""
    key = "order-4711"
    first = await stage.send("POST", "/batches/2", 200, idempotency_key=key)
    stage.tell("The same again, as a caller would who has not seen the answer:")
    again = await stage.send("POST", "/batches/2", 200, idempotency_key=key)
    stage.check("Idempotency-Replayed: true", holds=again.headers.get("idempotency-replayed") == "true")
    same = first.headers["correlation-id"] == again.headers["correlation-id"]
    stage.check("the same Correlation-Id: it is the first call's answer", holds=same)
    once = first.content == again.content and "finished" in first.json()
    stage.check("the work was done once: a second batch would have finished at another time", holds=once)


JOB_SCENES: Final[tuple[tuple[str, Callable[[Stage], Awaitable[None]]], ...]] = (
    ("A job: 202 at once, the result is fetched later", fetched_later),
    ("A job's progress, as it comes", followed),
    ("A job that is cancelled while it runs", cancelled),
    ("The same Idempotency-Key again: the answer is given twice, the work is done once", not_done_twice),
)
