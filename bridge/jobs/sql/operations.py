"""What is written of jobs, many in one transaction: how they are made and sent. Called with the lock to write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from bridge.jobs.sql.rows import WHOLE_JOB, job_of, row_of
from bridge.jobs.sql.tables import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Executable

    from bridge.jobs.model import Job, NewJob
    from bridge.jobs.notices import Place  # noqa: F401 - named in a base class's parameter
    from bridge.jobs.store import Judge
    from bridge.jobs.trail import Notice

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


class Tell(Operation["tuple[Job | None, Place]"]):
    """Note what a worker says; see :meth:`bridge.jobs.store.JobStore.tell`. None: what waits, waits no longer."""

    __slots__ = ("job_id", "notice")

    def __init__(self, job_id: str, notice: Notice | None, now_ms: int) -> None:
        super().__init__(now_ms)
        self.job_id = job_id
        self.notice = notice


class Settle(Operation["tuple[Job | None, bool]"]):
    """Have a job become what ``judge`` says; see :meth:`bridge.jobs.store.JobStore.settle`."""

    __slots__ = ("job_id", "judge")

    def __init__(self, job_id: str, judge: Judge, now_ms: int) -> None:
        super().__init__(now_ms)
        self.job_id = job_id
        self.judge = judge


_INSERT_NEW: Final[dict[str, Executable]] = {
    "sqlite": sqlite.insert(jobs).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(jobs).on_conflict_do_nothing(),
    # IGNORE would also shorten what does not fit; this leaves the row that is there as it is.
    "mysql": mysql.insert(jobs).on_duplicate_key_update(id=jobs.c.id),
}
_INSERT_NEW["mariadb"] = _INSERT_NEW["mysql"]


# Made once: to build a statement, and the key by which its SQL is found again, costs more than to run it.
IDS: Final = jobs.c.id.in_(bindparam("ids", expanding=True))
_HERE: Final = select(jobs.c.id).where(IDS)


def create(connection: Connection, operations: Sequence[Create]) -> None:
    """Insert new jobs, but for those whose key is taken."""
    # One order everywhere, or two bridges with the same keys wait for each other.
    ordered = sorted(operations, key=lambda one: (one.new.job.key.sha256 if one.new.job.key else "", one.new.job.id))
    insert = _INSERT_NEW[connection.dialect.name]
    inserted = connection.execute(insert, [row_of(one.new) for one in ordered]).rowcount
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
        connection.execute(_INSERT_NEW[connection.dialect.name], [row_of(new)])
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


NO_REQUEST: Final[dict[str, Any]] = {"lease_ms": None, "owner": None, "properties": None, "request": None}


_SENT: Final = jobs.update().where(IDS, jobs.c.sent_ms.is_(None)).values(sent_ms=bindparam("now"), **NO_REQUEST)


def mark_sent(connection: Connection, operations: Sequence[Sent]) -> None:
    """Note that the broker has the jobs' messages, and drop the requests."""
    now_ms = max(one.now_ms for one in operations)
    connection.execute(_SENT, {"ids": [one.job_id for one in operations], "now": now_ms})
    for one in operations:
        one.result = None
