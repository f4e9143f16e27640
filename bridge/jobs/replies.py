"""Takes replies from the durable reply queue into the store: commit, then ACK, then word to the other bridges.

Store down: no ACK, so a reply that we cannot keep stays the broker's. What a worker says before its turn (another
bridge has what it said earlier) waits in the store. Its final reply waits here, not acknowledged, and is tried again;
not for ever.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from activemq.errors import BufferFullError
from bridge.events import MAX_EVENT, document_of
from bridge.jobs.notices import Place, place_of
from bridge.jobs.results import judge_of, kind_of, number_of
from bridge.jobs.trail import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from activemq import Client, Frame
    from bridge.jobs.model import Job
    from bridge.jobs.store import JobStore

log = logging.getLogger(__name__)

_ID: Final = re.compile(r"[0-9a-f]{32}")
_NOTICES: Final = frozenset({"started", "progress", "chunk"})
_AGAIN_AFTER: Final = 0.5  # seconds
_NEXT_LOOK: Final = 0.02  # seconds, for what is before its turn
PATIENCE: Final = 2.0  # seconds that a word waits for those before it
_SHORT_PATIENCE: Final = 0.25  # seconds, for final replies while half of the link's PREFETCH waits: others must go on
_MANY: Final = 32


@dataclass(slots=True)
class Counts:
    """What became of replies since the start. ``stray``: unknown, used up, cancelled, not asked for, out of order."""

    kept: int = 0
    noted: int = 0
    stray: int = 0
    gaps: int = 0


@dataclass(eq=False, slots=True)
class _Reply:
    """A reply off the connection of that generation; ``since``: the loop's time when it began to wait for its turn."""

    frame: Frame
    generation: int
    job_id: str
    since: float = 0.0
    early: bool = False


class ReplyKeeper:
    """Keeps each reply that its job still waits for.

    ``on_kept`` is told of each job that is over thereby, ``on_told`` of each that has more events, ``withdraw`` of
    those that somebody has begun although they are over.
    """

    def __init__(
        self,
        client: Client,
        store: JobStore,
        on_kept: Callable[[Job], None],
        on_told: Callable[[str], None],
        withdraw: Callable[[str], None],
    ) -> None:
        self.counts = Counts()
        self._client = client
        self._store = store
        self._on_kept = on_kept
        self._on_told = on_told
        self._withdraw = withdraw
        self._early = 0
        self._loop = asyncio.get_running_loop()

    def on_reply(self, frame: Frame) -> None:
        """Take a reply off the connection."""
        reply = _Reply(frame, self._client.generation, frame.raw("correlation-id") or "")
        kind = kind_of(frame)
        if not _ID.fullmatch(reply.job_id) or (kind != "final" and kind not in _NOTICES):
            self._drop(reply, "a reply that is no job's, or not asked for")
        else:
            self._keep(reply)

    def _keep(self, reply: _Reply, *, at_once: bool = False) -> None:
        if reply.generation != self._client.generation:
            self._is_decided(reply)
            return  # the broker has it, and gives it again
        frame, now_ms = reply.frame, self._client.clock.now_ms()
        if kind_of(frame) == "final":
            settling = self._store.settle(reply.job_id, judge_of(frame, at_once=at_once), now_ms)
            settling.add_done_callback(lambda done: self._settled(done, reply))
        else:
            telling = self._store.tell(reply.job_id, _notice_of(frame), now_ms)
            telling.add_done_callback(lambda done: self._told(done, reply))

    async def pass_over(self) -> None:
        """Wait no longer for what has not come in time, at any bridge. Raises StoreUnavailableError."""
        now_ms = self._client.clock.now_ms()
        for job_id in await self._store.stuck(now_ms - round(PATIENCE * 1_000)):
            _, place = await self._store.pass_over(job_id, now_ms)
            if place is Place.NEXT:
                self._passed_over(job_id)
                self._on_told(job_id)

    def _passed_over(self, job_id: str) -> None:
        self.counts.gaps += 1
        log.warning("job %s: something that its worker said did not come, and is passed over", job_id)

    def _settled(self, done: asyncio.Future[tuple[Job | None, bool]], reply: _Reply) -> None:
        if self._is_not_kept(done, reply):
            return
        job, changed = done.result()
        frame = reply.frame
        if job is not None and changed:
            self.counts.kept += 1
            self._acknowledge(reply)
            self._on_kept(job)
        elif (
            job is not None and place_of(job, number_of(frame, "attempt"), number_of(frame, "sequence")) is Place.EARLY
        ):
            self._wait(reply)
        else:
            self._drop(reply, f"a reply for a job that is {_state_of(job)}")

    def _told(self, done: asyncio.Future[tuple[Job | None, Place]], reply: _Reply) -> None:
        if self._is_not_kept(done, reply):
            return
        job, place = done.result()
        if place is not Place.STALE:
            self.counts.noted += 1
            self._acknowledge(reply)
            if place is Place.NEXT:
                self._on_told(reply.job_id)
        else:
            kind = kind_of(reply.frame)
            self._drop(reply, f"{kind} that came twice, or of an attempt that is over (the job is {_state_of(job)}),")
            if kind == "started" and (job is None or job.is_final):
                self._withdraw(reply.job_id)  # its worker has not heard that it is over: it was not there yet

    def _is_not_kept(self, done: asyncio.Future[Any], reply: _Reply) -> bool:
        if done.cancelled():
            return True
        if done.exception() is None:
            return False
        self._loop.call_later(_AGAIN_AFTER, self._keep, reply)  # not kept: not acknowledged
        return True

    def _wait(self, reply: _Reply) -> None:
        """Try it again soon, and at last whatever is missing."""
        now = self._loop.time()
        if not reply.early:
            reply.early, reply.since = True, now
            self._early += 1
        if now - reply.since < (PATIENCE if self._early <= _MANY else _SHORT_PATIENCE):
            self._loop.call_later(_NEXT_LOOK, self._keep, reply)
            return
        self._passed_over(reply.job_id)
        self._loop.call_soon(lambda: self._keep(reply, at_once=True))

    def _drop(self, reply: _Reply, what: str) -> None:
        log.info("%s is dropped", what)
        self.counts.stray += 1
        self._acknowledge(reply)

    def _is_decided(self, reply: _Reply) -> None:
        if reply.early:
            reply.early = False
            self._early -= 1

    def _acknowledge(self, reply: _Reply) -> None:
        self._is_decided(reply)
        try:
            self._client.ack(reply.frame, reply.generation)
        except BufferFullError:  # without it the broker would give us no more
            self._loop.call_later(_AGAIN_AFTER, self._acknowledge, reply)


def _notice_of(frame: Frame) -> Notice:
    kind = kind_of(frame)
    data: bytes | None = b""
    if kind != "started":
        data = None if frame.oversize or len(frame.body) > MAX_EVENT else document_of(frame)
    return Notice(kind, number_of(frame, "attempt"), number_of(frame, "sequence"), data)


def _state_of(job: Job | None) -> str:
    return job.state.value if job else "not known"
