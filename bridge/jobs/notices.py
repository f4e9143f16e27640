"""What workers say of a job before its reply, in the order in which they said it. Pure.

Several bridges take the notices of one job off the same queue, so they come to the store in any order. What puts them
right is the worker's own count, ``sequence``, one for each attempt (docs/decisions/0016-job-events.md).
"""

from __future__ import annotations

import enum
from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.jobs.model import State
from bridge.jobs.trail import Event

if TYPE_CHECKING:
    from bridge.jobs.model import Job
    from bridge.jobs.trail import Notice


class Place(enum.Enum):
    """Where a worker's word stands among the others."""

    NEXT = "it is its turn"
    EARLY = "something before it has not come yet"
    STALE = "its time is over"


def place_of(job: Job, attempt: int | None, sequence: int | None, *, numbered: bool = True) -> Place:
    """Say whether it is a word's turn. One that does not say its attempt is of the highest.

    ``numbered``: False for ``started``, which may be said late, after the words that follow it.
    """
    if job.is_final or (attempt is not None and attempt < job.attempts):
        return Place.STALE
    if sequence is None or not numbered:
        return Place.NEXT
    last = job.trail.sequence if attempt is None or attempt == job.attempts else -1
    if sequence == last + 1 or (last < 0 and sequence == 1):  # 0 may be a `started` that is late, or never said
        return Place.NEXT
    return Place.EARLY if sequence > last else Place.STALE


def add(job: Job, notice: Notice, now_ms: int) -> tuple[Job, list[Event]]:
    """Return an open job as it is after a notice whose turn it is, and the events that are new.

    The number of what never came, or is too large, is left out.
    """
    attempt = notice.attempt or max(job.attempts, 1)
    last, new = job.trail.last, []
    if attempt > job.attempts:
        last += 1
        new.append(Event(last, "started", now_ms, b'{"attempt":%d}' % attempt))
        job = _begun(job, attempt, now_ms)
    sequence = job.trail.sequence
    if notice.kind != "started":
        if notice.sequence is not None:
            last += notice.sequence > max(sequence + 1, 1)
            sequence = notice.sequence
        if notice.data is not None:
            last += 1
            new.append(Event(last, notice.kind, now_ms, notice.data))
            job = replace(job, progress=notice.data) if notice.kind == "progress" else job
        elif notice.kind == "chunk":
            last += 1
    size = job.trail.size + sum(event.size for event in new)
    return replace(job, trail=replace(job.trail, last=last, sequence=sequence, size=size)), new


def _begun(job: Job, attempt: int, now_ms: int) -> Job:
    trail = replace(job.trail, sequence=-1)
    started_ms = job.started_ms or now_ms
    return replace(job, state=State.RUNNING, attempts=attempt, started_ms=started_ms, progress=None, trail=trail)
