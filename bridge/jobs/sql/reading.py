"""What followers and operators read of jobs: events in pages, lists in the order of their making."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, or_, select

from bridge.jobs.model import OPEN, Job, Page, State, Wanted
from bridge.jobs.sql.operations import IDS
from bridge.jobs.sql.rows import LIGHT_JOB, WHOLE_JOB, event_of, job_of
from bridge.jobs.sql.tables import events, jobs
from bridge.jobs.trail import OVERHEAD, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

PAGE_BYTES: Final = 256 * 1024  # of events in one page; a single one may be larger
_PAGE_EVENTS: Final = 500
_OPEN: Final = frozenset(state.value for state in OPEN)

# Made once, as in operations.
_JOB: Final = LIGHT_JOB.where(jobs.c.id == bindparam("of"))
_WHOLE: Final = WHOLE_JOB.where(jobs.c.id == bindparam("of"))
_SIZES: Final = (
    select(events.c.number, events.c.size)
    .where(events.c.job == bindparam("of"), events.c.number > bindparam("after"))
    .order_by(events.c.number)
    .limit(_PAGE_EVENTS)
)
_EVENTS: Final = (
    select(events)
    .where(events.c.job == bindparam("of"), events.c.number.between(bindparam("first"), bindparam("last")))
    .order_by(events.c.number)
)
_STEPS: Final = (
    select(events.c.number, events.c.kind, events.c.at_ms, events.c.size)
    .where(events.c.job == bindparam("of"))
    .order_by(events.c.number)
)
_HEADS: Final = select(jobs.c.id, jobs.c.last_event, jobs.c.state).where(IDS)


def page_of(connection: Connection, job_id: str, after: int) -> Page | None:
    """See :meth:`bridge.jobs.store.JobStore.events`."""
    # The job first: what is final then has all its events.
    job = _job(connection, job_id)
    if job is None:
        return None
    sizes = connection.execute(_SIZES, {"of": job_id, "after": after}).all()
    if not sizes:
        return Page(job, job.trail.lost_chunk, ())
    last, room = sizes[0].number, PAGE_BYTES - sizes[0].size
    for number, size in sizes[1:]:
        room -= size
        if room < 0:
            break
        last = number
    rows = connection.execute(_EVENTS, {"of": job_id, "first": sizes[0].number, "last": last})
    found = [event_of(row) for row in rows]
    lost_chunk = job.trail.lost_chunk
    if not found or found[0].number > after + 1:  # some were dropped, perhaps since we looked at the job
        lost_chunk = (_job(connection, job_id) or job).trail.lost_chunk
    return Page(job, lost_chunk, found)


def _job(connection: Connection, job_id: str) -> Job | None:
    row = connection.execute(_JOB, {"of": job_id}).one_or_none()
    return None if row is None else job_of(row)


def heads_of(connection: Connection, ids: Sequence[str]) -> Mapping[str, tuple[int, bool]]:
    """See :meth:`bridge.jobs.store.JobStore.heads`."""
    rows = connection.execute(_HEADS, {"ids": ids})
    return {job_id: (last, state not in _OPEN) for job_id, last, state in rows}


def listed(connection: Connection, wanted: Wanted, now_ms: int) -> Sequence[Job]:
    """See :meth:`bridge.jobs.store.JobStore.browse`."""
    conditions: list[Any] = [
        jobs.c.state != State.REFUSED.value,
        or_(jobs.c.finished_ms.is_(None), jobs.c.finished_ms + jobs.c.retention_ms > now_ms),
    ]
    if wanted.state is not None:
        conditions.append(jobs.c.state == wanted.state.value)
    if wanted.route is not None:
        conditions.append(jobs.c.route == wanted.route)
    if wanted.before is not None:
        made, job_id = wanted.before
        conditions.append(
            or_(jobs.c.created_ms < made, and_(jobs.c.created_ms == made, jobs.c.id < job_id)),
        )
    query = LIGHT_JOB.where(*conditions).order_by(jobs.c.created_ms.desc(), jobs.c.id.desc()).limit(wanted.limit)
    return [job_of(row) for row in connection.execute(query)]


def timeline_of(connection: Connection, job_id: str) -> tuple[Job, Sequence[Step]] | None:
    """See :meth:`bridge.jobs.store.JobStore.timeline`."""
    row = connection.execute(_WHOLE, {"of": job_id}).one_or_none()
    job = None if row is None else job_of(row)
    if job is None or job.is_refused:
        return None
    rows = connection.execute(_STEPS, {"of": job_id})
    return job, [Step(number, kind, at_ms, size - OVERHEAD) for number, kind, at_ms, size in rows]
