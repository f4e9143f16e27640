"""`/jobs/{id}`: what became of a job, its result, its events, and its cancellation. Pure ASGI, as the calls are."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bridge import translate
from bridge.access import ANYBODY
from bridge.asgi import CallerGoneError, respond
from bridge.endpoints.job_answers import as_document, as_result, state_header
from bridge.endpoints.job_events import Events, begin_at, last_event_id
from bridge.events import STREAM_HEADERS
from bridge.exchange import End
from bridge.jobs.model import Job, State
from bridge.jobs.store import StoreUnavailableError
from bridge.problems import CONTENT_TYPE, Problem

if TYPE_CHECKING:
    from bridge.access import Access, Principal
    from bridge.admission import Admission
    from bridge.asgi import Headers, Receive, Scope, Send
    from bridge.endpoints.call import Rules
    from bridge.exchange import Ending
    from bridge.jobs.service import JobService
    from bridge.translate import Answer, Preferences

log = logging.getLogger(__name__)

_PATH: Final = re.compile(rb"/jobs/([^/]*)(/result|/events)?")
_ID: Final = re.compile(rb"[0-9a-f]{32}")
_ON_JOB: Final = ("DELETE", "GET", "HEAD")
_ON_PART: Final = ("GET", "HEAD")


class JobsEndpoint:
    """The ASGI application under `/jobs/`."""

    def __init__(self, rules: Rules, access: Access, jobs: JobService, admission: Admission) -> None:
        self.rules = rules
        self.access = access
        self.jobs = jobs
        self.admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        asking = _Asking(self, scope, receive, send)
        try:
            await asking.run()
        except Problem as problem:
            await asking.refuse(problem)
        except CallerGoneError:
            return
        except Exception:
            log.exception("%s %s: a defect of the bridge", scope["method"], scope["path"])
            if asking.answering:
                raise  # half an answer cannot be taken back: the server closes the connection
            await asking.refuse(Problem("internal", "the bridge has a defect; its log has the trace"))


class _Asking:
    """One request about a job."""

    def __init__(self, endpoint: JobsEndpoint, scope: Scope, receive: Receive, send: Send) -> None:
        self.endpoint = endpoint
        self.scope = scope
        self.receive = receive
        self.send = send
        self.answering = False
        self.job_id = ""
        self.instance = scope["raw_path"].decode("latin-1")
        self.principal: Principal = ANYBODY
        self.preferences: Preferences = translate.NO_PREFERENCES
        self.started = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Answer it. Raises :class:`Problem`."""
        part = await self._examine()
        jobs = self.endpoint.jobs
        if self.scope["method"] == "DELETE":
            job = await jobs.cancel(self.job_id, self.principal.name)
            if job.state is not State.CANCELLED:
                raise Problem("job-final", f"the job is {job.state.value} already", headers=(state_header(job),))
            headers = [(b"cache-control", b"no-store"), state_header(job)]
            await self._respond(translate.Answer(204, headers, b"", None, None))
            return
        job = await jobs.get(self.job_id, self.principal.name)
        if part == b"/events":
            await self._follow(job)
            return
        if not job.is_final and self.preferences.wait is not None:
            waited = await self._wait(job, float(self.preferences.wait))
            if waited is None:
                return  # nobody is there any more
            job = waited
            if part is None and "progress" in job.rules.kinds:  # who was told of the end was not told of that
                job = await jobs.get(self.job_id, self.principal.name)
        if part != b"/result":
            await self._respond(as_document(job, self.endpoint.rules.public_url))
        elif job.is_final:
            self.instance = job.path  # a problem is the same that the held call would have had
            await self._respond(as_result(job))
        else:
            await self._respond(as_document(job, self.endpoint.rules.public_url, 202))

    async def _examine(self) -> bytes | None:
        """Make the checks that all requests have; return which part of the job it is about."""
        match = _PATH.fullmatch(self.scope["raw_path"])
        head = translate.read_head(self.scope["headers"], {})
        access = self.endpoint.access
        self.principal = await access.identify(head, self.scope)
        access.permit(self.principal, head)
        if match is None:
            raise Problem("no-route", "the bridge has no such page")
        allowed = _ON_PART if match[2] else _ON_JOB
        if self.scope["method"] not in allowed:
            allow = ", ".join(allowed)
            raise Problem("method-not-allowed", f"this takes {allow}", headers=((b"allow", allow.encode()),))
        if not _ID.fullmatch(match[1]):
            raise Problem("no-job", "there is no job of this id")
        self.job_id = match[1].decode()
        part: bytes | None = match[2]
        if head.prefer and part != b"/events":
            self.preferences = translate.preferences(head.prefer)
        return part

    # -- long poll

    async def _wait(self, job: Job, seconds: float) -> Job | None:
        """Hold until the job is final, or the time is over, or we drain; None if the caller has left."""
        jobs, admission = self.endpoint.jobs, self.endpoint.admission
        admission.check_page(self.principal)
        held = jobs.hold(job.id, self.started + seconds)
        watcher = asyncio.create_task(self._see_caller_leave(held))
        admission.enter_page(held, self.principal)
        try:
            with suppress(StoreUnavailableError):  # it is looked for again every second
                await jobs.poll([job.id])  # it may have ended before we began to wait
            outcome = await held.outcome
        finally:
            admission.leave_page(held, self.principal)
            jobs.let_go(job.id, held)
            watcher.cancel()
        if isinstance(outcome, Job):
            return outcome
        return None if outcome is End.CALLER_GONE else await jobs.get(job.id, self.principal.name)

    async def _see_caller_leave(self, held: Ending) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        held.end(End.CALLER_GONE)

    # -- events

    async def _follow(self, job: Job) -> None:
        """Send the job's events as they come. A browser's EventSource comes again unless the answer is a 204."""
        admission, followers = self.endpoint.admission, self.endpoint.jobs.followers
        came_to = last_event_id(self.scope["headers"])
        if came_to > job.trail.last + job.is_final:
            raise translate.invalid("last-event-id", "is of an event that the job has not had")
        after = begin_at(job, came_to)
        if after is None:
            headers = [(b"cache-control", b"no-store"), state_header(job)]
            await self._respond(translate.Answer(204, headers, b"", None, None))
            return
        admission.check_page(self.principal)
        follower = followers.follow(job.id, after)
        watcher = asyncio.create_task(self._see_caller_leave(follower))
        admission.enter_page(follower, self.principal)
        try:
            self.answering = True
            start_headers = [*STREAM_HEADERS, state_header(job), *self._common(self.job_id)]
            await self.send({"type": "http.response.start", "status": 200, "headers": start_headers})
            if self.scope["method"] == "HEAD":
                await self.send_part(b"", last=True)
                return
            events = Events(followers, follower, admission, self, self.endpoint.rules.public_url)
            if await events.run() is End.DEADLINE:
                await events.close()
        finally:
            admission.leave_page(follower, self.principal)
            followers.leave(follower)
            watcher.cancel()

    async def send_part(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the body."""
        await self.send({"type": "http.response.body", "body": data, "more_body": not last})

    # -- answering

    async def _respond(self, answer: Answer) -> None:
        headers = answer.headers
        headers += self._common(self.job_id, answer.queue_ms, answer.work_ms)
        size, admission = len(answer.body), self.endpoint.admission
        admission.reserve(size)  # nothing else bounds how many read results at once, and how slowly
        try:
            self.answering = True
            await respond(self.send, answer.status, headers, answer.body)
        finally:
            admission.release(size)

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem."""
        self.answering = True
        correlation_id = self.job_id or self.endpoint.jobs.holders.new_id()
        body = problem.body(self.instance, correlation_id, self.endpoint.rules.public_url)
        headers: Headers = [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *self._common(correlation_id),
            *problem.headers,
        ]
        await respond(self.send, problem.row.status, headers, body)

    def _common(self, correlation_id: str, queue_ms: float | None = None, work_ms: float | None = None) -> Headers:
        took = asyncio.get_running_loop().time() - self.started
        headers: Headers = [
            (b"correlation-id", correlation_id.encode()),
            (b"server-timing", translate.server_timing(took, queue_ms, work_ms)),
        ]
        if self.preferences.wait is not None and self.scope["method"] != "DELETE":
            headers.append((b"preference-applied", b"wait=%d" % self.preferences.wait))
        return headers
