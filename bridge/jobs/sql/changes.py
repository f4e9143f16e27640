"""How jobs change: what their workers say, and their ends. Many in one transaction, with the lock to write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, select

from bridge.jobs.model import OPEN, Failure, Job, Settlement, may_become
from bridge.jobs.notices import Place, add, place_of
from bridge.jobs.sql.operations import IDS, NO_REQUEST, Create, Operation, Sent, Settle, Tell, create, mark_sent
from bridge.jobs.sql.rows import LIGHT_JOB, event_row, job_of, settled_row, told_row
from bridge.jobs.sql.tables import early, events, jobs
from bridge.jobs.trail import KEPT, MOST_EARLY, SLACK, Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from bridge.jobs.trail import Event


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction, in this order: a job is there before it is sent, and sent before it changes.

    What changes jobs is in the order in which it came.
    """

    created: Sequence[Create]
    sent: Sequence[Sent]
    changes: Sequence[Settle | Tell]

    @classmethod
    def of(cls, operations: Sequence[Operation[Any]]) -> Batch:
        """Sort operations by what they do."""
        return cls(
            [one for one in operations if isinstance(one, Create)],
            [one for one in operations if isinstance(one, Sent)],
            [one for one in operations if isinstance(one, (Settle, Tell))],
        )

    def apply(self, connection: Connection) -> None:
        """Write all; each operation then has its ``result``, which counts once the transaction is committed."""
        if self.created:
            create(connection, self.created)
        if self.sent:
            mark_sent(connection, self.sent)
        if self.changes:
            _Changes(connection).apply(self.changes)


_TO_CHANGE: Final = LIGHT_JOB.where(IDS).order_by(jobs.c.id).with_for_update()
_SENT_BY_NOW: Final[dict[str, Any]] = {"sent_ms": func.coalesce(jobs.c.sent_ms, bindparam("now"))} | NO_REQUEST
_THIS: Final = jobs.c.id == bindparam("of")


def _values(*names: str) -> dict[str, Any]:
    return {name: bindparam(name) for name in names}


_SETTLED: Final = (
    jobs.update()
    .where(_THIS, jobs.c.finished_ms.is_(None))
    .values(
        _values(
            "state", "started_ms", "finished_ms", "attempts", "key_sha256", "fingerprint", "purge_ms", "answer", "body"
        )
        | _SENT_BY_NOW
    )
)  # fmt: skip
# A job of which a worker speaks has been sent, whatever became of the bridge that did it.
_TOLD: Final = (
    jobs.update()
    .where(_THIS)
    .values(
        _values(
            "state",
            "started_ms",
            "attempts",
            "last_event",
            "sequence",
            "events_size",
            "lost_chunk",
            "early",
            "early_ms",
        )
        | _SENT_BY_NOW
    )
)
_PROGRESS: Final = jobs.update().where(_THIS).values(progress=bindparam("told"))
_SIZES: Final = (
    select(events.c.number, events.c.kind, events.c.size)
    .where(events.c.job == bindparam("of"))
    .order_by(events.c.number)
)
_DROP: Final = events.delete().where(events.c.job == bindparam("of"), events.c.number <= bindparam("up_to"))
_EARLY: Final = select(early.c.attempt, early.c.sequence, early.c.kind, early.c.data).where(
    early.c.job == bindparam("of")
)
_NOT_EARLY: Final = early.delete().where(
    early.c.job == bindparam("of"), early.c.attempt == bindparam("in_attempt"), early.c.sequence == bindparam("at")
)
_Words = dict[tuple[int, int], Notice]  # by attempt and sequence


class _Changes:
    """The changes of one transaction: worked out on jobs in memory, then written at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: dict[str, Job] = {}
        self._told: dict[str, int] = {}  # job → when
        self._progress: dict[str, bytes | None] = {}
        self._events: dict[str, list[Event]] = {}
        self._early: dict[str, tuple[_Words, _Words]] = {}  # job → what waited, what waits
        self._settled: dict[str, dict[str, Any]] = {}

    def apply(self, operations: Sequence[Settle | Tell]) -> None:
        """Write all, and set the operations' results."""
        ids = sorted({one.job_id for one in operations})
        self._jobs = {job.id: job for job in map(job_of, self._connection.execute(_TO_CHANGE, {"ids": ids}))}
        for one in operations:
            if isinstance(one, Settle):
                one.result = self._settle(one)
            else:
                one.result = self._tell(one)
        self._write_early()
        self._write_events()
        if self._settled:
            self._connection.execute(_SETTLED, list(self._settled.values()))

    def _settle(self, operation: Settle) -> tuple[Job | None, bool]:
        job = self._jobs.get(operation.job_id)
        if job is None or job.is_final:
            return job, False
        settlement = operation.judge(job)
        if settlement is None or not may_become(job.state, settlement.state):
            return job, False
        if job.trail.early and settlement.state not in OPEN:
            self._release(job, operation.now_ms, whatever=True)
        self._jobs[job.id] = job = settled(self._jobs[job.id], settlement, operation.now_ms)
        self._settled[job.id] = settled_row(job) | {"now": operation.now_ms}
        return job, True

    def _tell(self, operation: Tell) -> tuple[Job | None, Place]:
        job, notice, now_ms = self._jobs.get(operation.job_id), operation.notice, operation.now_ms
        if notice is None:
            if job is None or job.is_final or not job.trail.early:
                return job, Place.STALE
            self._release(job, now_ms, whatever=True)
            return self._jobs[job.id], Place.NEXT
        if job is None or notice.kind not in job.rules.kinds:
            return job, Place.STALE
        place = place_of(job, notice.attempt, notice.sequence, numbered=notice.kind != "started")
        if place is Place.NEXT:
            self._add(job, notice, now_ms)
            if job.trail.early:
                self._release(self._jobs[job.id], now_ms)
        elif place is Place.EARLY:
            self._hold(job, notice, now_ms)
        return self._jobs[job.id], place

    def _add(self, job: Job, notice: Notice, now_ms: int) -> Job:
        told, new = add(job, notice, now_ms)
        if told.progress is not job.progress or told.attempts > job.attempts:
            self._progress[job.id] = told.progress
        self._jobs[job.id] = told = self._keep(told, new)
        self._told[job.id] = now_ms
        return told

    def _keep(self, job: Job, new: Sequence[Event]) -> Job:
        """Add events to those to be written; of two words of progress in a row the second takes the first's place."""
        kept = self._events.setdefault(job.id, [])
        for event in new:
            if kept and kept[-1].kind == event.kind == "progress":
                before = kept[-1]
                kept[-1] = replace(event, number=before.number)
                trail = replace(job.trail, last=before.number, size=job.trail.size - before.size)
                job = replace(job, trail=trail)
            else:
                kept.append(event)
        return job

    # -- words before their turn

    def _waiting(self, job: Job) -> _Words:
        if job.id not in self._early:
            found = self._connection.execute(_EARLY, {"of": job.id}) if job.trail.early else ()
            words = {
                (attempt, sequence): Notice(kind, attempt, sequence, None if data is None else bytes(data))
                for attempt, sequence, kind, data in found
            }
            self._early[job.id] = words, dict(words)
        return self._early[job.id][1]

    def _hold(self, job: Job, notice: Notice, now_ms: int) -> None:
        waiting = self._waiting(job)
        waiting[notice.attempt or max(job.attempts, 1), notice.sequence or 0] = notice
        self._note_early(job, waiting, job.trail.early_ms or now_ms)
        if len(waiting) > MOST_EARLY:
            self._release(self._jobs[job.id], now_ms, whatever=True)

    def _release(self, job: Job, now_ms: int, *, whatever: bool = False) -> None:
        """Let go on what has its turn now; all of it if ``whatever`` is missing is given up."""
        waiting = self._waiting(job)
        for at in sorted(waiting):
            place = place_of(job, *at)
            if place is Place.EARLY and not whatever:
                break
            notice = waiting.pop(at)
            if place is not Place.STALE:
                job = self._add(job, notice, now_ms)
        self._note_early(job, waiting, now_ms)

    def _note_early(self, job: Job, waiting: _Words, since_ms: int) -> None:
        trail = replace(job.trail, early=len(waiting), early_ms=since_ms if waiting else None)
        self._jobs[job.id] = replace(job, trail=trail)
        self._told.setdefault(job.id, since_ms)

    def _write_early(self) -> None:
        for job_id, (before, now) in self._early.items():
            gone = [{"of": job_id, "in_attempt": at[0], "at": at[1]} for at in before if at not in now]
            if gone:
                self._connection.execute(_NOT_EARLY, gone)
            new = [
                {"job": job_id, "attempt": at[0], "sequence": at[1], "kind": word.kind, "data": word.data}
                for at, word in now.items()
                if at not in before
            ]
            if new:
                self._connection.execute(early.insert(), new)

    # -- writing

    def _write_events(self) -> None:
        rows = [event_row(job_id, event) for job_id, new in self._events.items() for event in new]
        if rows:
            self._connection.execute(events.insert(), rows)
        for job_id in self._told:
            if self._jobs[job_id].trail.size > KEPT + SLACK:
                self._drop_oldest(self._jobs[job_id])
        if self._told:
            told = [told_row(self._jobs[job_id], now_ms) for job_id, now_ms in self._told.items()]
            self._connection.execute(_TOLD, told)
        if self._progress:
            self._connection.execute(_PROGRESS, [{"of": job, "told": told} for job, told in self._progress.items()])

    def _drop_oldest(self, job: Job) -> None:
        size, up_to, lost_chunk = job.trail.size, 0, job.trail.lost_chunk
        for number, kind, each in self._connection.execute(_SIZES, {"of": job.id}):
            if size - each < KEPT:
                break
            size, up_to = size - each, number
            if kind == "chunk":
                lost_chunk = number
        self._connection.execute(_DROP, {"of": job.id, "up_to": up_to})
        self._jobs[job.id] = replace(job, trail=replace(job.trail, size=size, lost_chunk=lost_chunk))


def settled(job: Job, settlement: Settlement, now_ms: int) -> Job:
    """Return the job as it is after a change. Only an outcome that ran nothing frees the key (docs/http.md)."""
    state, answer, attempts = settlement.state, settlement.answer, max(job.attempts, settlement.attempt or 0)
    if state in OPEN:
        return replace(job, state=state, answer=answer, attempts=attempts, started_ms=job.started_ms or now_ms)
    key = None if isinstance(answer, Failure) and answer.ran == "no" else job.key
    return replace(job, state=state, answer=answer, attempts=attempts, finished_ms=now_ms, key=key)
