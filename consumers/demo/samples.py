"""Five small jobs: one reads, one computes, one fails, one is too slow, and one takes long and says how far it is."""

import asyncio
import json
import logging
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from consumers.demo.thumbnail import NotAnImageError, scale_down
from consumers.reply import Reply
from consumers.request import Request
from consumers.worker import Worker

log = logging.getLogger(__name__)

_WORDS: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_MOST_FREQUENT: Final = 5
_MAX_SIZE: Final = 1_024  # pixels
_TOO_LATE: Final = 1.0  # seconds after the deadline
_NO_DEADLINE: Final = 5.0  # seconds
_MAX_ITEMS: Final = 1_000
_EACH_ITEM: Final = 0.25  # seconds

worker = Worker("demo")


@dataclass(frozen=True, slots=True)
class Analysis:
    """What there is to say of a text."""

    words: int
    characters: int
    lines: int
    most_frequent: dict[str, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of a batch; two that ran differ in ``finished``."""

    items: int
    worker: int  # its process id
    finished: str  # RFC 3339


@worker.handler("demo.texts")
async def texts(request: Request) -> Analysis | Reply:
    """Analyse a text: the body itself, or ``{"text": …}`` if it is JSON."""
    try:
        text = _text_of(request)
    except ValueError as error:
        return Reply.problem(422, f"there is no text in the body: {error}", ran="no")
    words = [word.lower() for word in _WORDS.findall(text)]
    frequent = dict(Counter(words).most_common(_MOST_FREQUENT))
    return Analysis(len(words), len(text), len(text.splitlines()), frequent)


def _text_of(request: Request) -> str:
    """Return the text; raises ValueError if there is none."""
    if not (request.content_type or "").lower().startswith("application/json"):
        return request.text()
    document = json.loads(request.body)
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise ValueError('expected a string, or {"text": "…"}')  # noqa: TRY004 - not a type error of the program
    return text


@worker.handler("demo.thumbnails")
def thumbnails(request: Request) -> Reply:
    """Scale a JPEG or PNG down to the path parameter ``size``, in pixels; a plain function, so it runs in a thread."""
    size = request.path.get("size", "128")
    if not (size.isascii() and size.isdigit() and len(size) <= 4 and 1 <= int(size) <= _MAX_SIZE):
        return Reply.problem(422, f"size must be 1 to {_MAX_SIZE} pixels", ran="no")
    try:
        body, content_type = scale_down(request.body, int(size))
    except NotAnImageError as error:
        return Reply.problem(422, str(error), ran="no")
    return Reply(body, content_type=content_type)


@worker.handler("demo.flaky")
async def flaky(request: Request) -> None:
    """Fail: the caller gets `worker-failed`, and only this worker's log has the trace."""
    raise RuntimeError(f"the flaky worker always fails; this was call {request.correlation_id}")


@worker.handler("demo.slow")
async def slow(request: Request) -> str:
    """Sleep until nobody waits any more."""
    left = request.remaining()
    pause = _NO_DEADLINE if left is None else left + _TOO_LATE
    try:
        await asyncio.sleep(pause)
    except asyncio.CancelledError:
        log.info("call %s was cancelled while it slept", request.correlation_id)
        raise  # it is asyncio's: who swallows it cannot be stopped
    return f"slept for {pause:.1f} s"


@worker.handler("demo.batches")
async def batches(request: Request) -> Batch | Reply:
    """Go through as many items as the path parameter ``items`` says, a quarter of a second each, and tell of each."""
    asked = request.path.get("items", "")
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 4 and 1 <= int(asked) <= _MAX_ITEMS):
        return Reply.problem(422, f"items must be a number, 1 to {_MAX_ITEMS}", ran="no")
    items, done = int(asked), 0
    try:
        while done < items:
            await asyncio.sleep(_EACH_ITEM)
            done += 1
            request.progress({"done": done, "of": items})
    except asyncio.CancelledError:
        # Not by the log: this is what the demo shows, whatever the log's level.
        print(f"{request.correlation_id} was stopped after {done} of {items} items", file=sys.stderr, flush=True)
        raise
    return Batch(items, os.getpid(), datetime.now(UTC).isoformat())
