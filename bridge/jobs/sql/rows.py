"""Jobs to rows and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from bridge.jobs.model import Failure, Job, Key, NewJob, Reply, Request, Rules, State, Unsent
from bridge.jobs.sql.tables import jobs
from bridge.jobs.trail import Event, Trail

if TYPE_CHECKING:
    from sqlalchemy import Row

# Without those that may be large.
LIGHT: Final = tuple(column for column in jobs.c if column.name not in ("request", "body", "properties", "progress"))
LIGHT_JOB: Final = select(*LIGHT)
WHOLE_JOB: Final = select(*LIGHT, jobs.c.body, jobs.c.progress)
UNSENT: Final = select(*LIGHT, jobs.c.request, jobs.c.properties)


def row_of(new: NewJob) -> dict[str, Any]:
    """Return the values of a new job's row."""
    job, request = new.job, new.request
    return {
        "id": job.id,
        "caller": job.caller,
        "route": job.route,
        "key_sha256": job.key.sha256 if job.key else None,
        "fingerprint": job.key.fingerprint if job.key else None,
        "state": job.state.value,
        "path": job.path,
        "rules": json.dumps([job.rules.max_reply, job.rules.returns, job.rules.kinds, job.rules.tells]),
        "created_ms": job.created_ms,
        "deadline_ms": job.deadline_ms,
        "retention_ms": job.retention_ms,
        "attempts": job.attempts,
        "owner": new.owner,
        "lease_ms": new.lease_ms,
        "queue": request.queue,
        "priority": request.priority,
        "is_text": int(request.text),
        "properties": json.dumps(request.properties),
        "request": request.body,
    }


def job_of(row: Row[*tuple[Any, ...]]) -> Job:
    """Return the job of a row; its answer and its progress only if the row was read with ``body``."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's documented name
    key = None
    if values["key_sha256"] is not None:
        key = Key(values["key_sha256"], values["fingerprint"] or "")
    progress = values["progress"] if "body" in values else None
    return Job(
        id=values["id"],
        caller=values["caller"],
        route=values["route"],
        path=values["path"],
        rules=_rules(values["rules"]),
        created_ms=values["created_ms"],
        deadline_ms=values["deadline_ms"],
        retention_ms=values["retention_ms"],
        state=State(values["state"]),
        key=key,
        sent_ms=values["sent_ms"],
        started_ms=values["started_ms"],
        finished_ms=values["finished_ms"],
        attempts=values["attempts"],
        answer=answer_of(values["answer"], values["body"]) if "body" in values else None,
        trail=Trail(
            last=values["last_event"],
            sequence=values["sequence"],
            size=values["events_size"],
            lost_chunk=values["lost_chunk"],
            early=values["early"],
            early_ms=values["early_ms"],
        ),
        progress=None if progress is None else bytes(progress),
    )


def _rules(text: str) -> Rules:
    max_reply, returns, *asked = json.loads(text)
    kinds, tells = asked or ((), False)  # a row that was made before there were any
    return Rules(max_reply, tuple((name, header) for name, header in returns), tuple(kinds), tells)


def unsent_of(row: Row[*tuple[Any, ...]]) -> Unsent:
    """Return a job with its request message."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's documented name
    properties = tuple((name, value) for name, value in json.loads(values["properties"] or "[]"))
    request = Request(
        values["queue"], values["priority"], properties, bytes(values["request"] or b""), bool(values["is_text"])
    )
    return Unsent(job_of(row), request)


def answer_of(text: str | None, body: bytes | None) -> Reply | Failure | None:
    """Read an answer as :func:`answer_row` wrote it."""
    if text is None:
        return None
    document = json.loads(text)
    if "problem" in document:
        return Failure(**document)
    headers = tuple((name, value) for name, value in document["headers"])
    return Reply(document["status"], headers, bytes(body or b""), document["queue_ms"], document["work_ms"])


def settled_row(job: Job) -> dict[str, Any]:
    """Return the values that a job's change has changed, and ``of``, its id."""
    text: str | None = None
    body: bytes | None = None
    answer = job.answer
    if isinstance(answer, Reply):
        document = {"status": answer.status, "headers": answer.headers}
        text = json.dumps(document | {"queue_ms": answer.queue_ms, "work_ms": answer.work_ms})
        body = answer.body
    elif answer is not None:
        text = json.dumps({name: getattr(answer, name) for name in Failure.__slots__} | {"extra": dict(answer.extra)})
    return {
        "of": job.id,
        "state": job.state.value,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "attempts": job.attempts,
        "key_sha256": job.key.sha256 if job.key else None,
        "fingerprint": job.key.fingerprint if job.key else None,
        "purge_ms": job.keep_until_ms,
        "answer": text,
        "body": body,
    }


def told_row(job: Job, now_ms: int) -> dict[str, Any]:
    """Return the values that a worker's words have changed, and ``of``, the job's id."""
    return {
        "of": job.id,
        "now": now_ms,
        "state": job.state.value,
        "started_ms": job.started_ms,
        "attempts": job.attempts,
        "last_event": job.trail.last,
        "sequence": job.trail.sequence,
        "events_size": job.trail.size,
        "lost_chunk": job.trail.lost_chunk,
        "early": job.trail.early,
        "early_ms": job.trail.early_ms,
    }


def event_row(job_id: str, event: Event) -> dict[str, Any]:
    """Return the values of an event's row."""
    return {
        "job": job_id,
        "number": event.number,
        "kind": event.kind,
        "at_ms": event.at_ms,
        "size": event.size,
        "data": event.data,
    }


def event_of(row: Row[*tuple[Any, ...]]) -> Event:
    """Return the event of a row."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's documented name
    return Event(values["number"], values["kind"], values["at_ms"], bytes(values["data"]))
