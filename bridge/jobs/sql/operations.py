"""The three changes that a job goes through, each for many jobs in one transaction. Called with the lock to write."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sqlalchemy import bindparam, func, null, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from bridge.jobs.model import OPEN, Failure, Job, NewJob, Settlement, may_become
from bridge.jobs.sql.many import execute_many
from bridge.jobs.sql.rows import LIGHT_JOB, WHOLE_JOB, job_of, row_of, settled_row
from bridge.jobs.sql.tables import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection
    from sqlalchemy.sql.dml import UpdateBase

    from bridge.jobs.store import Judge

R = TypeVar("R")


class Operation(Generic[R]):
    """Something to be written; ``done`` gets its result once that is on the disk."""

    __slots__ = ("done", "now_ms", "result")
    result: R

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.done: asyncio.Future[R] = asyncio.get_running_loop().create_future()


class Create(Operation["Job | None"]):
    """Keep a new job; the result is the job that has its key already, or None."""

    __slots__ = ("new",)

    def __init__(self, new: NewJob, now_ms: int) -> None:
        super().__init__(now_ms)
        self.new = new


class Sent(Operation[None]):
    """Note that the broker has a job's message."""

    __slots__ = ("job_id",)

    def __init__(self, job_id: str, now_ms: int) -> None:
        super().__init__(now_ms)
        self.job_id = job_id


class Settle(Operation["tuple[Job | None, bool]"]):
    """Have a job become what ``judge`` says; see :meth:`bridge.jobs.store.JobStore.settle`.

    ``mark``: that the job was sent, which is written by this at the same time.
    """

    __slots__ = ("job_id", "judge", "mark")

    def __init__(self, job_id: str, judge: Judge, now_ms: int) -> None:
        super().__init__(now_ms)
        self.job_id = job_id
        self.judge = judge
        self.mark: Sent | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction, in this order: a job is there before it is sent, and sent before it ends."""

    created: Sequence[Create]
    sent: Sequence[Sent]
    settled: Sequence[Settle]

    @classmethod
    def of(cls, operations: Sequence[Operation[Any]]) -> Batch:
        """Sort operations by what they do."""
        return cls(
            [one for one in operations if isinstance(one, Create)],
            [one for one in operations if isinstance(one, Sent)],
            [one for one in operations if isinstance(one, Settle)],
        )

    def apply(self, connection: Connection) -> None:
        """Write all; each operation then has its ``result``, which counts once the transaction is committed."""
        if self.created:
            _create(connection, self.created)
        if self.sent:
            _mark_sent(connection, self.sent)
        if self.settled:
            _settle(connection, self.settled)


_INSERT_NEW: Final[dict[str, UpdateBase]] = {
    "sqlite": sqlite.insert(jobs).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(jobs).on_conflict_do_nothing(),
    # IGNORE would also shorten what does not fit; this leaves the row that is there as it is.
    "mysql": mysql.insert(jobs).on_duplicate_key_update(id=jobs.c.id),
}
_INSERT_NEW["mariadb"] = _INSERT_NEW["mysql"]


# Made once: to build a statement, and the key by which its SQL is found again, costs more than to run it.
_IDS: Final = jobs.c.id.in_(bindparam("ids", expanding=True))
_HERE: Final = select(jobs.c.id).where(_IDS)
_TO_SETTLE: Final = LIGHT_JOB.where(_IDS).order_by(jobs.c.id).with_for_update()


def _create(connection: Connection, operations: Sequence[Create]) -> None:
    # One order everywhere, or two bridges with the same keys wait for each other.
    ordered = sorted(operations, key=lambda one: (one.new.job.key.sha256 if one.new.job.key else "", one.new.job.id))
    insert = _INSERT_NEW[connection.dialect.name]
    inserted = execute_many(connection, insert, [row_of(one.new) for one in ordered])
    for one in ordered:
        one.result = None
    keyed = [one for one in ordered if one.new.job.key]
    if not keyed or (connection.dialect.name == "sqlite" and inserted == len(ordered)):
        return  # MySQL counts the rows that it found too, and PostgreSQL's driver does not count
    here = set(connection.execute(_HERE, {"ids": [one.new.job.id for one in keyed]}).scalars())
    for one in keyed:
        if one.new.job.id not in here:
            one.result = _holder_of_key(connection, one)


def _holder_of_key(connection: Connection, operation: Create) -> Job | None:
    """Return the job that has the key; if its time is over, take the key from it and return None."""
    new = operation.new
    holder = job_by_key(connection, new.job)
    if holder is not None and not holder.is_kept(operation.now_ms):
        free = jobs.update().where(jobs.c.id == holder.id).values(key_sha256=None, fingerprint=None)
        connection.execute(free)
        execute_many(connection, _INSERT_NEW[connection.dialect.name], [row_of(new)])
        holder = job_by_key(connection, new.job)
    return None if holder is not None and holder.id == new.job.id else holder


def job_by_key(connection: Connection, like: Job) -> Job | None:
    """Return the job with the caller, the route and the key of another."""
    if like.key is None:
        return None
    row = connection.execute(
        WHOLE_JOB.where(jobs.c.caller == like.caller, jobs.c.route == like.route, jobs.c.key_sha256 == like.key.sha256)
    ).one_or_none()
    return None if row is None else job_of(row)


_NO_REQUEST: Final[dict[str, Any]] = dict.fromkeys(("lease_ms", "owner", "properties", "request"), null())


_SENT: Final = jobs.update().where(_IDS, jobs.c.sent_ms.is_(None)).values(sent_ms=bindparam("now"), **_NO_REQUEST)


def _mark_sent(connection: Connection, operations: Sequence[Sent]) -> None:
    now_ms = max(one.now_ms for one in operations)
    connection.execute(_SENT, {"ids": [one.job_id for one in operations], "now": now_ms})
    for one in operations:
        one.result = None


_SETTLED: Final = (
    jobs.update()
    .where(jobs.c.id == bindparam("of"), jobs.c.finished_ms.is_(None))
    .values(
        {
            name: bindparam(name)
            for name in (
                "state", "started_ms", "finished_ms", "attempts", "key_sha256", "fingerprint", "purge_ms", "answer",
                "body",
            )
        }
        | {"sent_ms": func.coalesce(jobs.c.sent_ms, bindparam("now"))}
        | _NO_REQUEST
    )
)  # fmt: skip


def _settle(connection: Connection, operations: Sequence[Settle]) -> None:
    ids = sorted({one.job_id for one in operations})
    found = {job.id: job for job in map(job_of, connection.execute(_TO_SETTLE, {"ids": ids}))}
    changed: dict[str, dict[str, Any]] = {}
    for one in operations:
        job = found.get(one.job_id)
        if job is None or job.is_final:
            one.result = job, False
            continue
        settlement = one.judge(job)
        if not may_become(job.state, settlement.state):
            one.result = job, False
            continue
        found[job.id] = job = settled(job, settlement, one.now_ms)
        changed[job.id] = settled_row(job) | {"now": one.now_ms}
        one.result = job, True
    if changed:
        execute_many(connection, _SETTLED, list(changed.values()))
    # What was settled is sent thereby, and of what is over it does not matter.
    marks = [one.mark for one in operations if one.mark is not None and one.job_id not in changed]
    open_still = [mark for mark in marks if mark.job_id in found and not found[mark.job_id].is_final]
    if open_still:
        _mark_sent(connection, open_still)


def settled(job: Job, settlement: Settlement, now_ms: int) -> Job:
    """Return the job as it is after a change. Only an outcome that ran nothing frees the key (docs/http.md)."""
    state, answer, attempts = settlement.state, settlement.answer, max(job.attempts, settlement.attempt or 0)
    if state in OPEN:
        return replace(job, state=state, answer=answer, attempts=attempts, started_ms=job.started_ms or now_ms)
    key = None if isinstance(answer, Failure) and answer.ran == "no" else job.key
    return replace(job, state=state, answer=answer, attempts=attempts, finished_ms=now_ms, key=key)
