"""A request that is a job: kept first, then sent; holding the connection is only one way of answering it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bridge import translate
from bridge.endpoints.job_answers import as_document, as_result, location_of, state_header
from bridge.endpoints.job_events import Events, begin_at, last_event_id
from bridge.events import STREAM_HEADERS, is_asked_for
from bridge.exchange import End
from bridge.jobs.making import new_job, own_properties
from bridge.jobs.model import Job, Request, key_of
from bridge.jobs.results import deadline_of
from bridge.jobs.service import not_confirmed
from bridge.jobs.store import StoreUnavailableError
from bridge.problems import Problem

if TYPE_CHECKING:
    from bridge.endpoints.call import Call
    from bridge.exchange import Held
    from bridge.jobs.model import Key
    from bridge.jobs.service import JobService, Submitted
    from bridge.routing import ServedRoute
    from bridge.translate import Preferences


class JobCall:
    """One request that is a job, from its body on."""

    __slots__ = ("_asynchronous", "_call", "_came_to", "_is_held", "_jobs", "_preferences", "_route", "_submitted")
    _submitted: Submitted

    def __init__(self, call: Call, jobs: JobService, route: ServedRoute, preferences: Preferences) -> None:
        """Raise :class:`Problem` for a ``Last-Event-ID`` that is none, where it matters."""
        self._call = call
        self._jobs = jobs
        self._route = route
        self._preferences = preferences
        rule = route.settings.async_
        self._asynchronous = rule == "always" or (preferences.respond_async and rule == "allowed")
        self._is_held = preferences.wait is not None or not self._asynchronous
        head = call.head
        follows = self._is_held and route.settings.stream is True and head is not None and is_asked_for(head)
        self._came_to = last_event_id(call.scope["headers"]) if follows else None

    async def submit(self, properties: list[tuple[str, str]], body: bytes) -> None:
        """Keep the job and send its message, or find the one that has its key. Raises :class:`Problem`."""
        call, settings = self._call, self._route.settings
        head = call.head
        assert head is not None  # noqa: S101 - read before the body
        raw_key = None
        key: Key | None = None
        if head.idempotency_key is not None and settings.idempotency != "off":
            raw_key = head.idempotency_key.strip(b'"')
            named = dict(properties)
            key = key_of(raw_key, named["http_method"], named["http_target"], body)
        job = new_job(
            self._route,
            call.correlation_id,
            caller=call.principal.name,
            path=call.scope["raw_path"].decode("latin-1"),
            now_ms=self._jobs.now_ms(),
            retention_ms=call.endpoint.rules.retention_ms,
            key=key,
        )
        own = own_properties(settings, job.rules)
        if call.trace is not None:
            client = self._jobs.client
            kind = client.profile.kind if client.connected else "auto"
            own += tuple(call.trace.sends(kind, settings.queue, job.id))
        if raw_key is not None:
            own += (("idempotency_key", raw_key.decode("ascii")),)
        request = Request(
            queue=settings.queue,
            priority=translate.priority_of(head.priority, settings.priority_ceiling),
            properties=(*own, *properties),
            body=body,
            text=translate.as_text(settings.message, head, body),
        )
        self._submitted = await self._jobs.submit(job, request)
        call.correlation_id = self._submitted.job.id
        if call.trace is not None:
            call.trace.submitted(self._submitted.posting)
        call.is_shared = self._submitted.posting is None

    async def answer(self) -> None:
        """Answer the caller, by whichever way it prefers. Raises :class:`Problem`."""
        call, job, wait = self._call, self._submitted.job, self._preferences.wait
        call.wait = wait
        timeout = self._route.settings.timeout
        until = call.started + (timeout if wait is None else min(timeout, float(wait)))
        if self._came_to is not None and not job.is_refused:
            await self._stream(job, self._came_to, until)
            return
        if job.is_final:
            await self._answer_with(job, replayed=True)
            return
        if self._is_held:
            outcome = await self._hold(job, until)
            if outcome is End.CALLER_GONE:
                return  # the job goes on: that is what jobs are for
            if isinstance(outcome, Job):
                await self._answer_with(outcome)
                return
        if self._asynchronous:
            await self._accept()
        else:
            raise await self._out_of_time(job)

    async def _stream(self, job: Job, came_to: int, until: float) -> None:
        """Answer with the job's events. What is said of the message is a plain answer; after that it is a 200."""
        call, followers = self._call, self._jobs.followers
        replayed = job.is_final
        job = await self._jobs.confirmed(self._submitted, call.endpoint.rules.publish_timeout)
        if job.is_refused:
            await self._answer_with(job)
            return
        prefix = call.endpoint.rules.public_url
        headers = [(b"location", location_of(job.id, prefix)), state_header(job)]
        if replayed:
            headers.append((b"idempotency-replayed", b"true"))
        # A reader who had more than there is had it of a job that was cleaned away.
        after = begin_at(job, came_to if came_to <= job.trail.last + job.is_final else 0)
        if after is None:
            await call.respond(translate.Answer(204, [*headers, (b"cache-control", b"no-store")], b"", None, None))
            return
        follower = followers.follow(job.id, after)
        timer = call.endpoint.loop.call_at(until, follower.end, End.DEADLINE)
        call.watch(follower)
        try:
            await call.start(200, [*STREAM_HEADERS, *headers, *call.headers()])
            events = Events(followers, follower, call.endpoint.admission, call, prefix)
            if await events.run() is End.DEADLINE:
                await events.fail(await self._out_of_time(job), job)
            self._count(events.end)
        finally:
            timer.cancel()
            followers.leave(follower)
            if call.watcher is not None:
                call.watcher.cancel()

    async def _hold(self, job: Job, until: float) -> object:
        call, jobs = self._call, self._jobs
        held: Held[Job] = jobs.hold(job.id, until, call.watch)
        try:
            if self._submitted.posting is None:  # somebody else's: it may have ended before we began to wait
                with suppress(StoreUnavailableError):  # it is looked for again every second
                    await jobs.poll([job.id])
            return await held.outcome
        finally:
            jobs.let_go(job.id, held)
            if call.watcher is not None:
                call.watcher.cancel()

    async def _accept(self) -> None:
        """Answer 202, once the broker has the message."""
        call, preferences = self._call, self._preferences
        job = await self._jobs.confirmed(self._submitted, call.endpoint.rules.publish_timeout)
        if job.is_final:  # it ended at the very moment
            await self._answer_with(job)
            return
        answer = as_document(job, call.endpoint.rules.public_url, 202)
        applied = ["respond-async"] if preferences.respond_async else []
        if preferences.wait is not None:
            applied.append(f"wait={preferences.wait}")
        if applied:
            answer.headers.append((b"preference-applied", ", ".join(applied).encode()))
        call.wait = None  # said already
        await call.respond(answer)

    async def _answer_with(self, job: Job, *, replayed: bool = False) -> None:
        header = ((b"idempotency-replayed", b"true"),) if replayed else ()
        try:
            answer = as_result(job)
        except Problem as problem:
            problem.headers += header
            raise
        answer.headers.extend(header)
        await self._call.respond(answer)

    def _count(self, end: translate.Answer | Problem | None) -> None:
        if isinstance(end, Problem):
            self._call.is_refused(end)
        elif end is not None:
            self._call.is_answered(end)

    async def _out_of_time(self, job: Job) -> Problem:
        """Make the answer of a held connection whose time is over; the job goes on."""
        posting = self._submitted.posting
        if posting is not None and not posting.confirmed.done():
            problem = not_confirmed()
        else:
            with suppress(StoreUnavailableError):
                job = await self._jobs.store.get(job.id) or job
            problem = deadline_of(job, "; the job goes on")
        location = location_of(job.id, self._call.endpoint.rules.public_url)
        problem.headers += ((b"location", location), state_header(job))
        return problem
