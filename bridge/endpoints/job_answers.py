"""How a job looks to its caller."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bridge.jobs.results import answer_of
from bridge.problems import Problem
from bridge.times import rfc3339
from bridge.translate import Answer

if TYPE_CHECKING:
    from bridge.asgi import Headers
    from bridge.jobs.model import Job

PREFIX: Final = "/jobs/"


def location_of(job_id: str, public_url: str) -> bytes:
    """Return where a job is found."""
    return f"{public_url}{PREFIX}{job_id}".encode()


def document_of(job: Job, public_url: str) -> bytes:
    """Return a job as JSON; times are RFC 3339 in UTC, or null."""
    at = f"{public_url}{PREFIX}{job.id}"
    document = {
        "id": job.id,
        "route": job.route,
        "state": job.state.value,
        "created": rfc3339(job.created_ms),
        "started": rfc3339(job.started_ms),
        "finished": rfc3339(job.finished_ms),
        "attempts": job.attempts,
        "progress": None if job.progress is None else json.loads(job.progress),
        "links": {"self": at, "result": f"{at}/result", "events": f"{at}/events"},
    }
    return json.dumps(document).encode()


def state_header(job: Job) -> tuple[bytes, bytes]:
    """Return the header that tells a worker's own 202 from ours."""
    return b"job-state", job.state.value.encode()


def as_document(job: Job, public_url: str, status: int = 200) -> Answer:
    """Return the answer that is a job's JSON; ``status`` 202: it is not finished."""
    body = document_of(job, public_url)
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        state_header(job),
    ]
    if status == 202:
        headers.append((b"location", location_of(job.id, public_url)))
    return Answer(status, headers, body, None, None)


def as_result(job: Job) -> Answer:
    """Return the answer of a final job, as a held call would have had it. Raises :class:`Problem` where it is one."""
    try:
        answer = answer_of(job)
    except Problem as problem:
        if not job.is_refused:
            problem.headers += (state_header(job),)
        raise
    answer.headers.append(state_header(job))
    return answer
