"""Jobs for their operator: `/-/api/jobs`, all callers' and at all bridges of the store, without what is in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.jobs.model import Failure, Reply, State, Wanted
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

_NO_STORE: Final = {"cache-control": "no-store"}
_USUAL: Final = 50
MOST: Final = 200  # jobs on one page
_ID: Final = re.compile(r"[0-9a-f]{32}")
_CURSOR: Final = re.compile(r"([0-9]{1,15})-([0-9a-f]{32})")
_STATES: Final[Mapping[str, State]] = {state.value: state for state in State if state is not State.REFUSED}


def job_list_routes(jobs: Callable[[], JobService | None], gate: Gate) -> list[Route]:
    """Return the pages; ``gate`` knows the operator, ``jobs`` is None until the bridge has started."""

    def service() -> JobService:
        found = jobs()
        if found is None:
            raise _unavailable()
        return found

    async def some(request: Request) -> Response:
        gate.check_admin(request)
        wanted = _wanted(request)
        try:
            found = await service().store.browse(wanted, service().now_ms())
        except StoreUnavailableError as error:
            raise _unavailable() from error
        more = f"{found[-1].created_ms}-{found[-1].id}" if len(found) == wanted.limit else None
        return JSONResponse({"jobs": [_line(job) for job in found], "next": more}, headers=_NO_STORE)

    async def one(request: Request) -> Response:
        gate.check_admin(request)
        job_id = request.path_params["id"]
        try:
            found = await service().store.timeline(job_id) if _ID.fullmatch(job_id) else None
        except StoreUnavailableError as error:
            raise _unavailable() from error
        if found is None:
            raise Problem("no-job", "there is no job of this id")
        job, steps = found
        return JSONResponse(_line(job) | _outcome(job) | {"timeline": _timeline(job, steps)}, headers=_NO_STORE)

    return [Route("/-/api/jobs", some, methods=["GET"]), Route("/-/api/jobs/{id}", one, methods=["GET"])]


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
