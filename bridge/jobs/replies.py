"""Takes replies from the durable reply queue into the store: commit, then ACK, then word to the other bridges.

Store down: no ACK, so a reply that we cannot keep stays the broker's.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq.errors import BufferFullError
from bridge.jobs.results import is_final, judge_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from activemq import Client, Frame
    from bridge.jobs.model import Job
    from bridge.jobs.store import JobStore

log = logging.getLogger(__name__)

_ID: Final = re.compile(r"[0-9a-f]{32}")
_AGAIN_AFTER: Final = 0.5  # seconds


@dataclass(slots=True)
class Counts:
    """What became of replies since the start. ``stray``: unknown, used up, cancelled, not final."""

    kept: int = 0
    stray: int = 0


class ReplyKeeper:
    """Keeps each reply that its job still waits for; ``on_kept`` is told of each job that is over thereby."""

    def __init__(self, client: Client, store: JobStore, on_kept: Callable[[Job], None]) -> None:
        self.counts = Counts()
        self._client = client
        self._store = store
        self._on_kept = on_kept
        self._loop = asyncio.get_running_loop()

    def on_reply(self, frame: Frame) -> None:
        """Take a reply off the connection."""
        self._keep(frame, self._client.generation)

    def _keep(self, frame: Frame, generation: int) -> None:
        if generation != self._client.generation:
            return  # the broker has it, and gives it again
        job_id = frame.raw("correlation-id") or ""
        if not _ID.fullmatch(job_id) or not is_final(frame):
            log.info("a reply that is no job's, or not asked for, is dropped")
            self.counts.stray += 1
            self._acknowledge(frame, generation)
            return
        done = self._store.settle(job_id, judge_of(frame), self._client.clock.now_ms())
        done.add_done_callback(lambda settled: self._settled(settled, frame, generation))

    def _settled(self, settled: asyncio.Future[tuple[Job | None, bool]], frame: Frame, generation: int) -> None:
        if settled.cancelled():
            return
        if settled.exception() is not None:  # not kept: not acknowledged
            self._loop.call_later(_AGAIN_AFTER, self._keep, frame, generation)
            return
        self._acknowledge(frame, generation)
        job, changed = settled.result()
        if job is not None and changed:
            self.counts.kept += 1
            self._on_kept(job)
        else:
            self.counts.stray += 1
            log.info("a reply came for a job that is %s, and is dropped", job.state.value if job else "not known")

    def _acknowledge(self, frame: Frame, generation: int) -> None:
        try:
            self._client.ack(frame, generation)
        except BufferFullError:  # without it the broker would give us no more
            self._loop.call_later(_AGAIN_AFTER, self._acknowledge, frame, generation)
