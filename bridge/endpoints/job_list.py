"""Jobs for their operator: `/-/api/jobs`, all callers' and at all bridges of the store, without what is in them."""

from __future__ import annotations

import base64
import re
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.endpoints.job_answers import as_result
from bridge.jobs.model import Failure, Reply, State, Wanted
from bridge.jobs.none import NoJobs
from bridge.jobs.store import StoreUnavailableError
from bridge.problems import Problem, retry_later
from bridge.times import rfc3339
from bridge.translate import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from bridge.endpoints.gate import Gate
    from bridge.jobs.model import Job
    from bridge.jobs.service import JobService
    from bridge.jobs.trail import Step
    from bridge.translate import Answer

_NO_STORE: Final = {"cache-control": "no-store"}
_USUAL: Final = 50
MOST: Final = 200  # jobs on one page
SHOWN: Final = 64 * 1024  # bytes of a result
_ID: Final = re.compile(r"[0-9a-f]{32}")
_CURSOR: Final = re.compile(r"([0-9]{1,15})-([0-9a-f]{32})")
_STATES: Final[Mapping[str, State]] = {state.value: state for state in State if state is not State.REFUSED}


class JobList:
    """The pages; ``gate`` knows the operator, ``jobs`` is None until the bridge has started."""

    def __init__(self, jobs: Callable[[], JobService | None], gate: Gate) -> None:
        self._jobs = jobs
        self._gate = gate

    def routes(self) -> list[Route]:
        """Return where they are."""
        return [
            Route("/-/api/jobs", self._some, methods=["GET"]),
            Route("/-/api/jobs/{id}", self._one, methods=["GET"]),
            Route("/-/api/jobs/{id}", self._cancel, methods=["DELETE"]),
            Route("/-/api/jobs/{id}/result", self._result, methods=["GET"]),
        ]

    @property
    def _service(self) -> JobService:
        found = self._jobs()
        if found is None:
            raise _unavailable()
        if isinstance(found, NoJobs):
            raise Problem("no-route", "this bridge has no store of jobs, since none of its routes can have any")
        return found

    async def _some(self, request: Request) -> Response:
        self._gate.check_admin(request)
        wanted = _wanted(request)
        try:
            found = await self._service.store.browse(wanted, self._service.now_ms())
        except StoreUnavailableError as error:
            raise _unavailable() from error
        more = f"{found[-1].created_ms}-{found[-1].id}" if len(found) == wanted.limit else None
        return JSONResponse({"jobs": [_line(job) for job in found], "next": more}, headers=_NO_STORE)

    async def _one(self, request: Request) -> Response:
        self._gate.check_admin(request)
        try:
            found = await self._service.store.timeline(_id_of(request))
        except StoreUnavailableError as error:
            raise _unavailable() from error
        if found is None:
            raise Problem("no-job", "there is no job of this id")
        job, steps = found
        return JSONResponse(_line(job) | _outcome(job) | {"timeline": _timeline(job, steps)}, headers=_NO_STORE)

    async def _cancel(self, request: Request) -> Response:
        self._gate.check_admin(request)
        job = await self._service.cancel(_id_of(request), None)
        if job.state is not State.CANCELLED:
            raise Problem("job-final", f"the job is {job.state.value} already")
        return Response(status_code=204, headers=_NO_STORE)

    async def _result(self, request: Request) -> Response:
        self._gate.check_admin(request)
        job = await self._service.get(_id_of(request), None)
        if not job.is_final:
            return JSONResponse(_line(job), 202, headers=_NO_STORE)
        return JSONResponse(_shown(as_result(job)), headers=_NO_STORE)


def _id_of(request: Request) -> str:
    job_id: str = request.path_params["id"]
    if not _ID.fullmatch(job_id):
        raise Problem("no-job", "there is no job of this id")
    return job_id


def _shown(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON: on a page of the operator's, a worker's own HTML could do what the operator may."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    cut = answer.body[:SHOWN]
    try:
        body = {"body": getincrementaldecoder("utf-8")().decode(cut, len(answer.body) <= SHOWN)}  # cut in no character
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(cut).decode()}
    return {"status": answer.status, "headers": headers, **body, "bytes": len(answer.body)}


def _unavailable() -> Problem:
    return retry_later("store-unavailable", "the store of jobs does not answer")


def _wanted(request: Request) -> Wanted:
    """Read the query. Raises :class:`Problem` ``invalid-request`` for what makes no sense."""
    query = request.query_params
    for name in query:
        if name not in ("state", "route", "limit", "before") or len(query.getlist(name)) > 1:
            raise invalid("target", "the query takes state, route, limit and before, each once")
    limit, state, before = query.get("limit", str(_USUAL)), query.get("state"), query.get("before")
    if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= MOST):
        raise invalid("target", f"limit must be 1 to {MOST}")
    if state is not None and state not in _STATES:
        raise invalid("target", f"state must be one of {', '.join(_STATES)}")
    cursor = None
    if before is not None:
        match = _CURSOR.fullmatch(before)
        if match is None:
            raise invalid("target", "before must be what the page before had as next")
        cursor = int(match[1]), match[2]
    return Wanted(int(limit), None if state is None else _STATES[state], query.get("route"), cursor)


def _line(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "route": job.route,
        "caller": job.caller or None,
        "state": job.state.value,
        "created": rfc3339(job.created_ms),
        "sent": rfc3339(job.sent_ms),
        "started": rfc3339(job.started_ms),
        "finished": rfc3339(job.finished_ms),
        "deadline": rfc3339(job.deadline_ms),
        "kept_until": rfc3339(job.keep_until_ms),
        "attempts": job.attempts,
        "keyed": job.key is not None,
    }


def _outcome(job: Job) -> dict[str, Any]:
    answer = job.answer
    return {
        "path": job.path,
        "status": answer.status if isinstance(answer, Reply) else None,
        "problem": answer.problem if isinstance(answer, Failure) else None,
    }


def _timeline(job: Job, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return what happened, in order: when it was made and sent, what its workers said that is still kept, its end."""
    told = [{"at": rfc3339(one.at_ms), "what": one.kind, "id": one.number, "bytes": one.size} for one in steps]
    line: list[dict[str, Any]] = [{"at": rfc3339(job.created_ms), "what": "created"}]
    if job.sent_ms is not None:
        line.append({"at": rfc3339(job.sent_ms), "what": "sent"})
    line += told
    if job.finished_ms is not None:
        line.append({"at": rfc3339(job.finished_ms), "what": job.state.value, "id": job.trail.last + 1})
    return line
