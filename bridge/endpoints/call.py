"""A held call, from its request to its one answer: the hot path.

Pure ASGI: request and response objects would cost 8 to 12 µs a call, and a middleware of the usual kind hides from
the endpoint that its caller has left (docs/decisions/0004-asgi.md).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activemq import Frame
from activemq.errors import BufferFullError, LocalProtocolError, NotConnectedError
from bridge import translate
from bridge.access import ANYBODY
from bridge.asgi import WITHOUT_CONTENT, CallerGoneError, respond
from bridge.endpoints.ended import ended_of
from bridge.endpoints.job_call import JobCall
from bridge.endpoints.outcomes import WITHDRAWN, no_worker, problem_of, queue_full
from bridge.endpoints.reading import Reading, too_large
from bridge.endpoints.stream import stream_for
from bridge.exchange import End
from bridge.figures import CALLER_GONE
from bridge.problems import CONTENT_TYPE, Problem, retry_later
from bridge.schema import BodyChecks

if TYPE_CHECKING:
    from bridge.access import Access, Principal
    from bridge.admission import Admission
    from bridge.asgi import Headers, Receive, Scope, Send
    from bridge.endpoints.stream import Stream
    from bridge.exchange import Ending, Exchange, Held, Refused
    from bridge.figures.book import Book
    from bridge.jobs.service import JobService
    from bridge.link import Link
    from bridge.lookout import Lookout
    from bridge.routing import Router, ServedRoute
    from bridge.tracing import CallTrace, Tracing
    from bridge.translate import Answer, Head, Preferences

log = logging.getLogger(__name__)

# An unread body up to this size is cheaper to read to its end than a new connection is to make.
READ_TO_THE_END: Final = 64 * 1024  # bytes
HTTP_VERSIONS: Final = frozenset({"1.0", "1.1", "2"})  # as ASGI names them
DISCARD_AT_MOST: Final = 1024 * 1024  # bytes; of an HTTP/2 stream, which cannot be closed alone


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all calls; times in seconds."""

    body_timeout: float
    publish_timeout: float
    public_url: str
    retention_ms: int = 24 * 3_600 * 1_000


class CallEndpoint:
    """The ASGI application of all routes."""

    def __init__(
        self,
        rules: Rules,
        access: Access,
        book: Book,
        router: Router,
        exchange: Exchange[Frame],
        admission: Admission,
        link: Link,
        lookout: Lookout,
        jobs: JobService,
        tracing: Tracing | None = None,
    ) -> None:
        self.rules = rules
        self.access = access
        self.router = router
        self.exchange = exchange
        self.admission = admission
        self.link = link
        self.bodies = BodyChecks(exchange.wheel)
        self.lookout = lookout
        self.jobs = jobs
        self.book = book
        self.tracing = tracing
        self.loop = asyncio.get_running_loop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        call = Call(self, scope, receive, send)
        try:
            await call.run()
        except Problem as problem:
            await call.refuse(problem)
        except CallerGoneError:
            pass  # its outcome until it has another
        except Exception:
            log.exception("call %s: a defect of the bridge", call.correlation_id)
            call.outcome = "internal"
            if call.answering:
                raise  # half an answer cannot be taken back: the server closes the connection
            await call.refuse(Problem("internal", "the bridge has a defect; its log has the trace"))
        finally:
            self._note(call)

    def _note(self, call: Call) -> None:
        now, head = self.loop.time(), call.head
        trace = call.trace
        if self.tracing is not None and trace is None:  # refused before its trace was read
            came = () if head is None else translate.parent_that_came(head)
            trace = self.tracing.begin(call.scope, call.route, came, now - call.started)
        if trace is None:
            ended = ended_of(call, now, "" if head is None else translate.sampled_trace(head))
        else:
            ended = ended_of(call, now, trace.sampled)
            trace.end(ended)
        self.book.note(None if call.route is None else call.route.counts.figures, ended)


class Call:
    """One request and all that is known of it."""

    __slots__ = (
        "answering",
        "attempt",
        "correlation_id",
        "detail",
        "endpoint",
        "first_worker",
        "head",
        "is_shared",
        "outcome",
        "principal",
        "receive",
        "route",
        "scope",
        "send",
        "sent",
        "started",
        "status",
        "stream",
        "told",
        "trace",
        "unread",
        "wait",
        "watcher",
    )

    def __init__(self, endpoint: CallEndpoint, scope: Scope, receive: Receive, send: Send) -> None:
        self.endpoint = endpoint
        self.scope = scope
        self.receive = receive
        self.send = send
        self.started = endpoint.loop.time()
        self.correlation_id = endpoint.exchange.new_id()
        self.head: Head | None = None
        self.principal: Principal = ANYBODY
        self.route: ServedRoute | None = None
        self.outcome = CALLER_GONE  # as it is counted: see RouteFigures
        self.detail = ""
        self.status = 0  # of the response; 0: none was begun
        self.sent: float | None = None  # when its message was, by the loop's clock
        self.told: Answer | None = None  # what the worker told of its answer
        self.is_shared = False  # the answer is that of an earlier call's job, whose work was counted there
        self.attempt = 0
        self.wait: int | None = None  # seconds, as preferred by the caller
        self.unread = False  # part of the body may still be on its way
        self.answering = False
        self.watcher: asyncio.Task[None] | None = None
        self.first_worker: asyncio.Task[None] | None = None
        self.stream: Stream | None = None
        self.trace: CallTrace | None = None  # where the bridge traces, once the head is read

    async def run(self) -> None:
        """Go the whole way. Raises :class:`Problem` for every answer that is not a worker's."""
        route, properties = await self._examine()
        admission = self.endpoint.admission
        admission.enter(route, self.principal, self.started)
        try:
            held = await self._publish(route, properties)
            if isinstance(held, JobCall):
                await held.answer()
                return
            try:
                outcome = await (held.outcome if self.stream is None else self.stream.run(self))
            except asyncio.CancelledError:
                self.endpoint.link.withdraw(held)
                raise
            finally:
                self._close(held, route)
            if outcome in WITHDRAWN:
                if self.stream is None:
                    self.endpoint.link.withdraw(held)
            elif isinstance(outcome, Frame):
                route.counts.answered += 1
                route.queue.pace.note()
            if self.stream is None:
                answer = self._read(outcome, route, held)
                if answer is not None:
                    await self.respond(answer)
            else:
                await self.stream.finish(self, outcome)
        finally:
            admission.leave(route, self.principal)

    # -- before the message

    async def _examine(self) -> tuple[ServedRoute, list[tuple[str, str]]]:
        """Make all the checks that need no body, in the order of the contract; return route and properties."""
        scope, endpoint = self.scope, self.endpoint
        method, raw_path = scope["method"], scope["raw_path"]
        problem: Problem | None = None
        route: ServedRoute | None = None
        try:
            route, parameters = endpoint.router.match(method, raw_path)
            self.route = route
        except Problem as no_route:
            problem = no_route  # but framing comes first
        head = translate.read_head(scope["headers"], route.passes if route else {})
        _check_version(head, scope["http_version"])
        self.head = head
        self.unread = _has_body(head, scope)
        self.principal = principal = await endpoint.access.identify(head, scope)
        if route is None or problem is not None:
            raise problem or Problem("no-route", "no route has this path")
        endpoint.access.permit(principal, head, route.settings.name)
        target = translate.target_of(raw_path, scope["query_string"])
        properties = translate.properties_of(head, target, method, parameters)
        if endpoint.tracing is None:
            properties += translate.trace_of(head, endpoint.exchange.new_id())
        else:
            age = endpoint.loop.time() - self.started
            self.trace = endpoint.tracing.begin(scope, route, translate.trace_that_came(head), age)
        if principal.name:
            properties.append(("caller", principal.name))
        if head.content_length is not None and head.content_length > route.settings.max_body:
            raise too_large(route.settings.max_body)
        if not _may_be_without_content(head, method):
            translate.check_media_type(head, route)
        translate.check_idempotency_key(head, route)
        return route, properties

    async def _publish(self, route: ServedRoute, properties: list[tuple[str, str]]) -> Held[Frame] | JobCall:
        """Read the body and send the request message; return the call as the exchange holds it, or as a job."""
        endpoint, head, settings = self.endpoint, self.head, route.settings
        assert head is not None  # noqa: S101 - _examine has read it
        reading = Reading(self, settings.max_body)
        try:
            body = await reading.whole()
            self._check_unannounced(body, head, route)
            preferences = translate.preferences(head.prefer) if head.prefer else translate.NO_PREFERENCES
            deadline = self.started + self._time_for(preferences, settings.timeout)
            if settings.schema_ is not None:
                seconds = deadline - endpoint.loop.time()
                await endpoint.bodies.check(settings.schema_, self.scope["method"], body, seconds)
            if translate.is_job(head, route, preferences):
                job = JobCall(self, endpoint.jobs, route, preferences)
                await job.submit(properties, body)
                return job
            if not endpoint.link.client.connected:
                raise retry_later("broker-unavailable", "there is no connection to the broker")
            queue = route.queue
            waits = queue.listeners == 0 and await self._finds_nobody(route)
            if queue.unanswered >= settings.max_backlog:
                raise queue_full(route, f"{queue.unanswered} calls wait for an answer, the route's limit")
            now = endpoint.loop.time()
            if now >= deadline:
                raise Problem("deadline", "the time was over before the body was there", "no", {"phase": "unknown"})
            held = endpoint.exchange.open(
                self.correlation_id, now, deadline, now + endpoint.rules.publish_timeout, self.watch
            )
            if settings.stream:
                self.stream = stream_for(head, route, held, endpoint.admission)
            if self.stream is not None:
                held.on_notice = self.stream.on_notice
                # At once: what its reader has not taken yet is no reason for the worker to go on.
                held.outcome.add_done_callback(lambda outcome: self._withdraw(held, outcome))
            self.sent = now
            queue.unanswered += 1
            route.counts.since[self.correlation_id] = self.started
            try:
                endpoint.link.publish(
                    route,
                    held,
                    deadline - now,
                    translate.priority_of(head.priority, settings.priority_ceiling),
                    properties,
                    body,
                    text=translate.as_text(settings.message, head, body),
                    in_parts=self.stream is not None,
                    trace=self.trace,
                )
            except BaseException as error:
                self._close(held, route)
                raise _not_sent(error) from error
            if waits:
                self.first_worker = endpoint.loop.create_task(self._wait_for_first_worker(held, route))
            return held
        finally:
            reading.release()

    def _check_unannounced(self, body: bytes, head: Head, route: ServedRoute) -> None:
        """Check the media type of content that the head did not announce, as HTTP/2 need not."""
        if body and route.settings.accepts and _may_be_without_content(head, self.scope["method"]):
            translate.check_media_type(head, route)

    def _time_for(self, preferences: Preferences, timeout: float) -> float:
        if preferences.wait is None:
            return timeout
        self.wait = preferences.wait
        return min(timeout, float(preferences.wait))

    def watch(self, held: Ending) -> None:
        """Begin to look out for the caller's leaving: the exchange asks for it when the call is some time old."""
        self.watcher = self.endpoint.loop.create_task(self._see_caller_leave(held))

    async def _see_caller_leave(self, held: Ending) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        held.end(End.CALLER_GONE)

    async def _finds_nobody(self, route: ServedRoute) -> bool:
        """Say whether nobody listens, and the call may wait for the first who does. Raises ``no-worker``."""
        nobody = await self.endpoint.lookout.nobody(route.queue)
        if nobody and not route.settings.worker_wait:
            raise no_worker(route)
        return nobody

    async def _wait_for_first_worker(self, held: Held[Frame], route: ServedRoute) -> None:
        """End a call that nobody has come for in time. Once there was a worker it has its time like any other."""
        lookout = self.endpoint.lookout
        came = await lookout.first_worker(route.queue, route.settings.worker_wait)
        if not came and not held.attempt and await lookout.nobody(route.queue):
            held.end(End.NO_WORKER)

    def _withdraw(self, held: Held[Frame], outcome: asyncio.Future[Frame | End | Refused]) -> None:
        if not outcome.cancelled() and outcome.result() in WITHDRAWN:
            self.endpoint.link.withdraw(held)

    def _close(self, held: Held[Frame], route: ServedRoute) -> None:
        self.attempt = held.attempt
        self.endpoint.exchange.close(held)
        self.endpoint.link.forget(held)
        route.queue.unanswered -= 1
        del route.counts.since[self.correlation_id]
        if self.stream is not None:
            self.stream.close()
        if self.watcher is not None:
            self.watcher.cancel()
        if self.first_worker is not None:
            self.first_worker.cancel()

    # -- after it

    async def answer(self, outcome: Frame | End | Refused, route: ServedRoute, held: Held[Frame]) -> None:
        """Send one whole answer. Raises :class:`Problem` where there is none to send."""
        answer = self._read(outcome, route, held)
        if answer is not None:
            await self.respond(answer)

    @staticmethod
    def _read(outcome: Frame | End | Refused, route: ServedRoute, held: Held[Frame]) -> Answer | None:
        """Return what the outcome is as an answer; None if nobody is there to hear it. Raises :class:`Problem`."""
        if isinstance(outcome, Frame):
            return translate.answer_of(outcome, route)
        if outcome is End.CALLER_GONE:
            return None
        raise problem_of(outcome, route, held)

    async def respond(self, answer: Answer) -> None:
        """Send a response, with the headers that all responses have."""
        self.is_answered(answer)
        headers = answer.headers
        headers.append((b"correlation-id", self.correlation_id.encode()))
        took = self.endpoint.loop.time() - self.started
        headers.append((b"server-timing", translate.server_timing(took, answer.queue_ms, answer.work_ms)))
        if self.wait is not None:
            headers.append(self._applied(self.wait))
        self.answering = True
        size = len(answer.body)
        admission = self.endpoint.admission
        admission.memory += size  # it is there already: counted, so that new bodies wait for it, never refused
        try:
            self.status = answer.status
            await respond(self.send, answer.status, headers, answer.body)
        finally:
            admission.release(size)

    def is_answered(self, answer: Answer) -> None:
        """Take note of the answer that a worker gave."""
        if self.route is not None:
            self.outcome = self.route.counts.figures.told(answer, worked=not self.is_shared)
        self.told = answer

    def is_refused(self, problem: Problem) -> None:
        """Take note of the problem that it ends with."""
        self.outcome, self.detail = problem.name, problem.detail

    @staticmethod
    def _applied(wait: int) -> tuple[bytes, bytes]:
        return b"preference-applied", b"wait=%d" % wait

    def headers(self) -> Headers:
        """Return the headers that every answer carries."""
        headers = [
            (b"correlation-id", self.correlation_id.encode()),
            (b"server-timing", translate.server_timing(self.endpoint.loop.time() - self.started)),
        ]
        if self.wait is not None:
            headers.append(self._applied(self.wait))
        return headers

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer whose body comes in parts."""
        self.answering = True
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def send_part(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the body."""
        await self.send({"type": "http.response.body", "body": data, "more_body": not last})

    def document(self, problem: Problem) -> bytes:
        """Return a problem as JSON."""
        instance = self.scope["raw_path"].decode("latin-1")
        return problem.body(instance, self.correlation_id, self.endpoint.rules.public_url)

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem."""
        self.is_refused(problem)
        if self._is_http_2 and (self.unread or self.head is None) and problem.name != "body-timeout":
            await self._discard_body()
        self.answering = True
        body = self.document(problem)
        headers: Headers = [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *self.headers(),
            *problem.headers,
        ]
        if self._must_close(problem):
            headers.append((b"connection", b"close"))
        self.status = problem.row.status
        await respond(self.send, problem.row.status, headers, body)

    async def _discard_body(self) -> None:
        """Read what is left of a body, within bounds, before it is refused.

        Hypercorn 0.18 ends a connection, with the held calls of all its streams, when a body goes on after its answer
        [run]. What is over the bounds is answered all the same.
        """
        size, more = 0, True
        with suppress(TimeoutError), self.endpoint.exchange.wheel.timeout(self.endpoint.rules.body_timeout):
            while more and size <= DISCARD_AT_MOST:
                message = await self.receive()
                size += len(message.get("body", b""))
                more = message["type"] == "http.request" and bool(message.get("more_body", False))

    @property
    def _is_http_2(self) -> bool:
        return bool(self.scope.get("http_version") == "2")

    def _must_close(self, problem: Problem) -> bool:
        if self._is_http_2:
            return False  # RFC 9113, 8.2.2: no such header there; the stream ends, the connection need not
        if problem.name in ("draining", "body-timeout") or self.head is None:
            return True  # RFC 9110, 15.5.9 for the body that did not come; where the next request begins is unknown
        return self.unread and (self.head.chunked or (self.head.content_length or 0) > READ_TO_THE_END)


def _check_version(head: Head, version: str) -> None:
    """Refuse what a version of HTTP does not allow; ``version`` as ASGI names it. Raises :class:`Problem`."""
    if version == "1.1":
        if head.host is None:
            raise translate.invalid("host", "must be there")  # RFC 9112, 3.2
    elif version not in HTTP_VERSIONS:  # httptools takes 0.9 and 2.0 there, h11 any
        raise translate.invalid("version", "must be HTTP/1.0, 1.1 or 2")
    elif head.chunked and version == "1.0":
        raise translate.invalid("transfer-encoding", "is not of HTTP/1.0")  # RFC 9112, 6.1


def _has_body(head: Head, scope: Scope) -> bool:
    """Say whether a body may come. HTTP/2 needs neither header for one (RFC 9113, 8.1.1)."""
    if head.content_length is not None:
        return head.content_length > 0
    return head.chunked or scope.get("http_version") == "2"


def _may_be_without_content(head: Head, method: str) -> bool:
    """Say whether a request, as far as its head tells, has no content, and so no media type to refuse."""
    return method in WITHOUT_CONTENT and not head.chunked and not head.content_length


def _not_sent(error: BaseException) -> BaseException:
    """Name a failure to send: nothing has left."""
    if isinstance(error, (NotConnectedError, BufferFullError)):
        return retry_later("broker-unavailable", "the broker cannot take the message now")
    if isinstance(error, LocalProtocolError):
        return translate.invalid("headers", "hold what no message header can hold")
    return error
